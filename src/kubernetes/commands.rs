//! `portcullis inject` and `uninject`: a manifest in, a manifest out.

use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use similar::TextDiff;

use super::inject::{self, Outcome};
use super::settings::{Given, SETTINGS};
use super::stream::Remark;

/// The command lines, in the order of the help.
pub fn commands() -> [Command; 2] {
    let settings = SETTINGS.iter().map(|setting| {
        let twin = format!(" [env: {}]", variable(setting.name));
        Arg::new(setting.name)
            .long(setting.name)
            .value_name(setting.value)
            .help(setting.help() + &twin)
            .help_heading("For each pod")
    });
    let inject = with_common(Command::new("inject"))
        .about("Print a Kubernetes manifest with the sidecar added")
        .args(settings)
        .after_help(INJECT);
    let uninject = with_common(Command::new("uninject"))
        .about("Print a manifest without what inject did to it")
        .after_help(UNINJECT);
    [inject, uninject]
}

fn with_common(command: Command) -> Command {
    let file = Arg::new("filename")
        .short('f')
        .long("filename")
        .value_name("FILE")
        .required(true)
        .help("The manifest, YAML or JSON, of any number of objects; - is stdin");
    let switch = |name, help| {
        Arg::new(name)
            .long(name)
            .help(help)
            .action(ArgAction::SetTrue)
    };
    command.args([
        file,
        switch(
            "diff",
            "Print what is changed, as a unified diff, and not the manifest",
        ),
        switch("quiet", "Say nothing on stderr but mistakes"),
    ])
}

/// `portcullis inject`.
pub fn inject(matches: &ArgMatches) -> ExitCode {
    let mut given = Given::default();
    let mut wrong = Vec::new();
    for setting in SETTINGS {
        let flag = matches.get_one::<String>(setting.name).cloned();
        let (said, value) = match flag {
            Some(value) => (format!("--{}", setting.name), value),
            None => match env::var(variable(setting.name)) {
                Ok(value) if !value.is_empty() => (variable(setting.name), value),
                Err(env::VarError::NotUnicode(_)) => {
                    wrong.push(format!("{}: is not UTF-8 text", variable(setting.name)));
                    continue;
                }
                _ => continue,
            },
        };
        if let Err(error) = given.set(setting.name, &value) {
            wrong.push(format!("{said}: {error}"));
        }
    }
    if !wrong.is_empty() {
        tell(&wrong);
        return ExitCode::from(USAGE);
    }
    convert(matches, |text| inject::inject(text, &given))
}

/// `portcullis uninject`.
pub fn uninject(matches: &ArgMatches) -> ExitCode {
    convert(matches, inject::uninject)
}

/// The environment's twin of a flag.
fn variable(name: &str) -> String {
    format!("PORTCULLIS_{}", name.replace('-', "_").to_uppercase())
}

fn convert(
    matches: &ArgMatches,
    made: impl FnOnce(&str) -> Result<Outcome, Vec<Remark>>,
) -> ExitCode {
    let name = matches
        .get_one::<String>("filename")
        .map_or("-", |name| name);
    let text = match read(name) {
        Ok(text) => text,
        Err(error) => {
            tell(&[format!("reading {name}: {error}")]);
            return ExitCode::from(FAILED);
        }
    };
    let place = if name == "-" { "stdin" } else { name };
    let lines = |remarks: &[Remark]| -> Vec<String> {
        let line =
            |Remark { line, column, text }: &Remark| format!("{place}:{line}:{column}: {text}");
        remarks.iter().map(line).collect()
    };
    match made(&text) {
        Ok(outcome) => {
            if !matches.get_flag("quiet") {
                tell(&lines(&outcome.remarks));
            }
            let out = if matches.get_flag("diff") {
                difference(place, &text, &outcome.text)
            } else {
                outcome.text
            };
            print(&out)
        }
        // Nothing on stdout: what reads it would take half of it for all.
        Err(remarks) => {
            tell(&lines(&remarks));
            ExitCode::from(USAGE)
        }
    }
}

fn read(name: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    let found: Box<dyn Read> = if name == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(name)?)
    };
    found.take(MAX_INPUT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(io::Error::other("more than 32 MiB; give it in parts"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("this is not UTF-8 text"))
}

fn difference(name: &str, old: &str, new: &str) -> String {
    TextDiff::from_lines(old, new)
        .unified_diff()
        .header(name, &format!("{name} (new)"))
        .to_string()
}

fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads no further has what was wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            tell(&[format!("writing: {error}")]);
            ExitCode::from(FAILED)
        }
    }
}

/// A line each on stderr. A closed stderr leaves nobody to tell.
fn tell(lines: &[String]) {
    let lines: String = lines
        .iter()
        .map(|line| format!("portcullis: {line}\n"))
        .collect();
    let _ = io::stderr().write_all(lines.as_bytes());
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const MAX_INPUT: u64 = 32 << 20;
const INJECT: &str = "\
Examples:
  portcullis inject -f app.yaml --tls-secret app-tls | kubectl apply -f -
  portcullis inject -f app.yaml --tls-secret app-tls --diff

Pods are those of Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs and CronJobs, and Pods themselves. Services of the \
same manifest lead to the sidecar afterwards, under their old ports. What is injected already is injected anew, so twice is once. \
What was done, and what has to be known about it, stands on stderr.

Exit codes: 0 done, 1 cannot read or write, 2 mistakes, of which all are told; nothing is printed then.";
const UNINJECT: &str = "\
Examples:
  portcullis uninject -f injected.yaml

Byte for byte what was given to inject, where nothing else was changed since; what was, stays, but in the sidecar's own container.

Exit codes: 0 done, 1 cannot read or write, 2 mistakes.";
