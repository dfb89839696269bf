//! `portcullis help`: the commands in groups, for whoever does not know which of them there are.

use std::fmt::Write as _;

use clap::Command;

/// Gives a command a help that lists its subcommands by what they are for.
pub fn grouped(command: Command) -> Command {
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n{}\nOptions:\n{{options}}{{after-help}}",
        groups(&command)
    );
    command.help_template(template)
}

fn groups(command: &Command) -> String {
    let mut text = String::new();
    for (heading, names) in GROUPS {
        let known: Vec<&Command> = names
            .iter()
            .filter_map(|name| command.find_subcommand(name))
            .collect();
        if !known.is_empty() {
            list(&mut text, heading, &known);
        }
    }
    let is_listed = |name| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let others: Vec<&Command> = command
        .get_subcommands()
        .filter(|other| !is_listed(other.get_name()))
        .collect();
    if !others.is_empty() {
        list(&mut text, "Others:", &others);
    }
    text
}

fn list(text: &mut String, heading: &str, commands: &[&Command]) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n{heading}");
    for command in commands {
        let about = command.get_about().map(ToString::to_string);
        let about = about.unwrap_or_default();
        let _ = writeln!(text, "  {:<WIDTH$}  {about}", command.get_name());
    }
}

/// Commands that are not there are not listed.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Serve:", &["run", "demo", "webhook"]),
    ("Look, without asking a running sidecar:", &["check"]),
    (
        "Add the sidecar to Kubernetes manifests, and take it out again:",
        &["inject", "uninject"],
    ),
    (
        "Ask or change a running sidecar (over its admin plane, also by kubectl exec):",
        &[
            "status",
            "logs",
            "top",
            "target",
            "certs",
            "log-level",
            "drain",
            "doctor",
        ],
    ),
];
const WIDTH: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, kubernetes, operator};

    fn help() -> String {
        let command = config::command()
            .subcommands(kubernetes::commands())
            .subcommands(operator::commands());
        grouped(command).render_help().to_string()
    }

    #[test]
    fn every_command_stands_in_a_group_and_fits_in_a_line() {
        let help = help();
        let place = |text: &str| help.find(text).unwrap_or_else(|| panic!("{text}: {help}"));
        assert!(
            place("\n  run ") < place("\n  check ") && place("\n  check ") < place("\n  status ")
        );
        for name in [
            "demo",
            "webhook",
            "inject",
            "uninject",
            "logs",
            "top",
            "target",
            "certs",
            "log-level",
            "drain",
        ] {
            place(&format!("\n  {name} "));
        }
        assert!(!help.contains("Others:"), "{help}");
        for line in help.lines().filter(|line| line.starts_with("  ")) {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn a_command_that_nobody_put_in_a_group_is_listed_all_the_same() {
        let command = Command::new("portcullis").subcommand(Command::new("new").about("Is new"));
        let help = grouped(command).render_help().to_string();
        assert!(help.contains("Others:\n  new        Is new\n"), "{help}");
    }
}
