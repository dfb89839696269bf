//! The client commands: what an operator asks a running sidecar, also in an image without a shell or curl.

mod address;
mod args;
mod certificates;
mod certs;
mod client;
mod doctor;
mod drain;
mod exposition;
#[cfg(test)]
mod fake;
mod log_level;
mod logs;
mod plane;
mod query;
mod rows;
mod screen;
mod status;
mod target;
mod tls;
mod token;
mod top;
#[cfg(test)]
mod transports;
mod trouble;
mod wire;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{ArgMatches, Command};
use tokio::runtime;

use self::args::{Errand, Output};
use self::plane::Plane;
use self::trouble::Trouble;
use crate::terminal::{Ink, Pen};

/// The command lines, in the order of the help.
pub fn commands() -> [Command; 8] {
    [
        status::command(),
        logs::command(),
        top::command(),
        target::command(),
        certs::command(),
        log_level::command(),
        drain::command(),
        doctor::command(),
    ]
}

/// `portcullis status`: how the sidecar is.
pub fn status(matches: &ArgMatches) -> ExitCode {
    let asked = status::Asked::new(matches);
    let plane = if asked.needs_no_token() {
        Plane::anonymous(matches, &variable)
    } else {
        Plane::new(matches, &variable)
    };
    conclude(plane.and_then(|plane| {
        on_runtime(async { status::run(&plane, asked, &mut io::stdout()).await })
    }))
}

/// `portcullis logs`: the recent records, and those to come.
pub fn logs(matches: &ArgMatches) -> ExitCode {
    conclude(ask(matches, async |errand| {
        let asked = logs::Asked::new(matches, SystemTime::now())?;
        logs::run(errand.plane, &asked, &mut io::stdout()).await
    }))
}

/// `portcullis top`: what goes on, as it goes on.
pub fn top(matches: &ArgMatches) -> ExitCode {
    conclude(ask(matches, async |errand| {
        top::run(errand, &top::Asked::new(matches), &mut io::stdout()).await
    }))
}

/// `portcullis target`: where requests go, and a change of that.
pub fn target(matches: &ArgMatches) -> ExitCode {
    conclude(ask(matches, async |errand| {
        target::run(errand, &target::Asked::new(matches)?, &mut io::stdout()).await
    }))
}

/// `portcullis certs`: what is served and what is on disk, and a reload of that.
pub fn certs(matches: &ArgMatches) -> ExitCode {
    conclude(ask(matches, async |errand| {
        certs::run(errand, certs::Asked::new(matches), &mut io::stdout()).await
    }))
}

/// `portcullis log-level`: the filter of the sidecar's own log, and a change of that.
pub fn log_level(matches: &ArgMatches) -> ExitCode {
    conclude(ask(matches, async |errand| {
        log_level::run(errand, &log_level::Asked::new(matches), &mut io::stdout()).await
    }))
}

/// `portcullis drain`: no more requests, without an end of the process.
pub fn drain(matches: &ArgMatches) -> ExitCode {
    conclude(ask(matches, async |errand| {
        drain::run(errand, drain::Asked::new(matches), &mut io::stdout()).await
    }))
}

/// `portcullis doctor`: what is around the sidecar, and what to do about it.
pub fn doctor(matches: &ArgMatches) -> ExitCode {
    let mut is_well = true;
    let ended = ask(matches, async |errand| {
        is_well = doctor::run(errand, matches, &mut io::stdout()).await?;
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
    question: impl AsyncFnOnce(Errand<'_>) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let plane = &Plane::new(matches, &variable)?;
    let output = Output::asked(matches);
    on_runtime(question(Errand { plane, output }))
}

fn on_runtime(asking: impl Future<Output = Result<(), Trouble>>) -> Result<(), Trouble> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(|error| Trouble::Negative(error.to_string()))?
        .block_on(asking)
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
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

/// Of `doctor`, when there is a problem.
const NOT_WELL: u8 = 1;

/// Writes to stdout, at once.
fn show(out: &mut impl Write, text: &[u8]) -> Result<(), Trouble> {
    let written = out.write_all(text).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Trouble::Unread,
        _ => Trouble::Negative(format!("writing: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_lines_hold_together() {
        commands().into_iter().for_each(Command::debug_assert);
    }

    #[test]
    fn what_is_common_may_stand_before_and_after_what_is_done() {
        for line in [
            "target --output json get",
            "target get --output json",
            "target --output json",
            "certs reload --output json",
        ] {
            let asked = Output::asked(&fake::matches(line));
            assert_eq!(asked, Output::Json, "{line}");
        }
    }
}
