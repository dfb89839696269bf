//! The client commands: what an operator asks a running sidecar, also in an image without a shell or curl.

mod args;
mod certificates;
mod client;
mod doctor;
#[cfg(test)]
mod fake;
mod logs;
mod screen;
mod status;

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::ArgMatches;
use tokio::runtime;

use crate::terminal::{Ink, Pen};

pub use args::commands;

/// `portcullis logs`: the recent records, and those to come.
pub fn logs(matches: &ArgMatches) -> ExitCode {
    conclude(ask(matches, async |admin| {
        let asked = logs::Asked::new(matches, SystemTime::now())?;
        logs::run(admin, &asked, &mut io::stdout()).await
    }))
}

/// `portcullis status`: how the sidecar is.
pub fn status(matches: &ArgMatches) -> ExitCode {
    conclude(ask(matches, async |admin| {
        let asked = status::Asked::new(matches);
        status::run(admin, asked, &mut io::stdout()).await
    }))
}

/// `portcullis doctor`: what is around the sidecar, and what to do about it.
pub fn doctor(matches: &ArgMatches) -> ExitCode {
    let mut is_well = true;
    let ended = ask(matches, async |admin| {
        is_well = doctor::run(admin, matches, &mut io::stdout()).await?;
        Ok(())
    });
    if is_well {
        conclude(ended)
    } else {
        ExitCode::from(NOT_WELL)
    }
}

/// Asks the admin plane that the command line names.
fn ask(
    matches: &ArgMatches,
    question: impl AsyncFnOnce(SocketAddr) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let admin = args::admin(matches)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(|error| Trouble::Negative(error.to_string()))?
        .block_on(question(admin))
}

fn conclude(ended: Result<(), Trouble>) -> ExitCode {
    let Err(trouble) = ended else {
        return ExitCode::SUCCESS;
    };
    if !matches!(trouble, Trouble::Unread) {
        tell(&trouble.to_string());
    }
    ExitCode::from(trouble.code())
}

/// A line on stderr. A closed stderr leaves nobody to tell.
fn tell(words: &str) {
    let mut line = b"portcullis: ".to_vec();
    let (out, colour) = (&mut line, false);
    Pen { out, colour }.put(Ink::Plain, words);
    line.push(b'\n');
    let _ = io::stderr().write_all(&line);
}

/// Writes to stdout, at once.
fn show(out: &mut impl Write, text: &[u8]) -> Result<(), Trouble> {
    let written = out.write_all(text).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Trouble::Unread,
        _ => Trouble::Negative(format!("writing: {error}")),
    })
}

/// Of `doctor`, when there is a problem.
const NOT_WELL: u8 = 1;

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq)]
enum Trouble {
    /// Nobody reads our output any more, which is what `| head` is for.
    Unread,
    /// The sidecar refused, or the answer is no.
    Negative(String),
    /// The command line asks for what there is not.
    Usage(String),
    /// Nothing that is an admin plane answers.
    Unreachable(String),
    /// The answer broke off.
    Broken(String),
    /// It took too long.
    TimedOut(String),
}

impl Trouble {
    fn code(&self) -> u8 {
        match self {
            Self::Unread => 0,
            Self::Negative(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) | Self::Broken(_) => 3,
            Self::TimedOut(_) => 4,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => f.write_str("nobody reads the output"),
            Self::Negative(words)
            | Self::Usage(words)
            | Self::Unreachable(words)
            | Self::Broken(words)
            | Self::TimedOut(words) => f.write_str(words),
        }
    }
}
