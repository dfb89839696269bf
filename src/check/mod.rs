//! `portcullis check`: what would be run, with the origin of each value, what is in the certificates, which ports there would
//! be, and what would be exposed. It touches no port.

mod certificates;
pub(crate) mod ending;
mod exposure;
mod ports;
mod restrictions;
mod traces;
mod values;

use std::fmt::Write as _;

use crate::config::Reading;

/// The account of a configuration, and whether its certificates are in order.
#[derive(Debug)]
pub struct Account {
    /// For people.
    pub text: String,
    /// False when something that a certificate or a client CA comes from cannot be used.
    pub is_sound: bool,
}

/// Explains all that could be read of a configuration, whatever is wrong with it.
pub fn explain(reading: &Reading) -> Account {
    let (raw, mistakes) = (&reading.raw, &reading.mistakes.0);
    let mut text = values::describe(raw);
    let Some(config) = &reading.config else {
        return Account {
            text,
            is_sound: false,
        };
    };
    if !mistakes.is_empty() {
        text.push_str(
            "  what follows has the default in the place of each value that cannot be read\n",
        );
    }
    values::in_effect(&mut text, config);
    let mut is_sound = certificates::describe(&mut text, config);
    is_sound &= traces::describe(&mut text, config);
    let doors = ports::doors(config);
    text.push_str("ports\n");
    ports::table(&mut text, &doors);
    text.push_str("exposed\n");
    say(&mut text, exposure::of(config));
    say(&mut text, traces::of(config));
    text.push_str("given up\n");
    say(&mut text, restrictions::of(config));
    text.push_str("ending\n");
    say(&mut text, ending::of(config));
    Account { text, is_sound }
}

/// What there is to say about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Remark {
    /// As it should be.
    Fact(String),
    /// To be looked at.
    Warning(String),
}

fn say(text: &mut String, remarks: Vec<Remark>) {
    for remark in remarks {
        // Writing to a String cannot fail, here and elsewhere.
        let _ = match remark {
            Remark::Fact(words) => writeln!(text, "  {words}"),
            Remark::Warning(words) => writeln!(text, "  warning: {words}"),
        };
    }
}

#[cfg(test)]
pub(crate) fn read(line: &str) -> crate::config::Config {
    let command = crate::config::command();
    let words = ["portcullis", "check"].into_iter();
    let words = words.chain(line.split_whitespace());
    let matches = command.try_get_matches_from(words).unwrap();
    let reading = Reading::of(matches.subcommand_matches("check").unwrap());
    reading.config.unwrap()
}
