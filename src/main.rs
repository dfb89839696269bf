//! The table of contents: configuration → bind → restrict → logs → run → exit code.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::ArgMatches;
use portcullis::addresses::Addresses;
use portcullis::app::{self, End};
use portcullis::config::{self, Config, Raw, Reading};
use portcullis::kubernetes::webhook;
use portcullis::logging::Logging;
use portcullis::{check, demo, help, kubernetes, operator, restrict};

// Cheaper than the system's by a tenth on the request path; the choice is measured again when everything is in place.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = config::command()
        .subcommands(kubernetes::commands())
        .subcommands(operator::commands());
    let matches = help::grouped(command).get_matches();
    match matches.subcommand() {
        Some(("run", matches)) => run(matches),
        Some(("demo", matches)) => show(matches),
        Some(("webhook", matches)) => admit(matches),
        Some(("check", matches)) => explain(matches),
        Some(("inject", matches)) => kubernetes::inject(matches),
        Some(("uninject", matches)) => kubernetes::uninject(matches),
        Some(("status", matches)) => operator::status(matches),
        Some(("logs", matches)) => operator::logs(matches),
        Some(("top", matches)) => operator::top(matches),
        Some(("target", matches)) => operator::target(matches),
        Some(("certs", matches)) => operator::certs(matches),
        Some(("log-level", matches)) => operator::log_level(matches),
        Some(("drain", matches)) => operator::drain(matches),
        Some(("doctor", matches)) => operator::doctor(matches),
        // clap lets nothing else through.
        _ => ExitCode::from(USAGE),
    }
}

fn run(matches: &ArgMatches) -> ExitCode {
    match Config::load(matches) {
        Ok((config, raw)) => serve(config, &raw, None, |_| Ok(())),
        Err(mistakes) => fail(USAGE, &mistakes),
    }
}

fn show(matches: &ArgMatches) -> ExitCode {
    let (config, mut raw) = match Config::load(matches) {
        Ok(loaded) => loaded,
        Err(mistakes) => return fail(USAGE, &mistakes),
    };
    match demo::Stage::set(config, &mut raw) {
        Ok((stage, config)) => serve(config, &raw, Some(stage.folder()), |addresses| {
            print(&stage.script(addresses));
            Ok(())
        }),
        Err(error) => fail(FAILED, &error),
    }
}

fn admit(matches: &ArgMatches) -> ExitCode {
    let place = match webhook::Place::find() {
        Ok(place) => place,
        Err(error) => return fail(FAILED, &format!("a port for the webhook: {error}")),
    };
    match place.furnish(matches) {
        // Its thread comes after the restrictions, too.
        Ok((webhook, config, raw)) => serve(config, &raw, None, |_| webhook.open()),
        Err(mistakes) => fail(USAGE, &mistakes),
    }
}

fn explain(matches: &ArgMatches) -> ExitCode {
    let reading = Reading::of(matches);
    let account = check::explain(&reading);
    print(&account.text);
    for warning in config::suspicious_variables() {
        print(&format!("warning: {warning}\n"));
    }
    if !reading.mistakes.0.is_empty() {
        return fail(USAGE, &reading.mistakes);
    }
    if account.is_sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(USAGE)
    }
}

/// `scratch` is a folder that the caller takes away in the end.
fn serve(
    config: Config,
    raw: &Raw,
    scratch: Option<&Path>,
    ready: impl FnOnce(&Addresses) -> io::Result<()>,
) -> ExitCode {
    portcullis::prepare();
    let bound = match app::bind_all(config) {
        Ok(bound) => bound,
        Err(errors) => return fail(FAILED, &errors.join("\nportcullis: ")),
    };
    // Before the first thread of the sidecar, those of the log included.
    let restrictions = restrict::restrict(bound.config(), &bound.addresses.looked_at(), scratch);
    let logging = match Logging::start(bound.config()) {
        Ok(logging) => logging,
        Err(error) => return fail(FAILED, &error),
    };
    let lacking = restrictions.iter().filter(|one| one.is_lacking());
    let lacking = lacking.map(ToString::to_string);
    let few = bound.config().limits.capacity.complaint();
    logging.warn(lacking.chain(few).chain(config::suspicious_variables()));
    let ended = ready(&bound.addresses)
        .map_err(|error| error.to_string())
        .and_then(|()| bound.run(raw, restrictions, &logging));
    logging.flush();
    match ended {
        Ok(End::Clean) => ExitCode::SUCCESS,
        Ok(End::Cut) => ExitCode::from(FAILED),
        Err(error) => fail(FAILED, &error),
    }
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "portcullis: {error}");
    ExitCode::from(code)
}

fn print(text: &str) {
    let _ = write!(io::stdout(), "{text}");
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
