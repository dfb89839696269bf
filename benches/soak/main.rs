//! A soak: everything that clients, applications and operators do, at once and at random, for as long as it is told, with books
//! in which each request must come out right.
//!
//! `PORTCULLIS_BIN=target/release/portcullis cargo bench --profile dev --bench soak -- --for 2m [--seed N]`
//!
//! The applications live in here, so it is known of every request what was done to it; a request may fail only because of that.
//! Every request leaves exactly one record, nothing grows, new handshakes see published certificates, and SIGTERM ends it all
//! with exit code 0. The seed fixes what is chosen, though not how it interleaves.

mod app;
mod books;
mod content;
mod dial;
mod entry;
mod http1;
mod http2;
mod leavers;
mod line;
mod operator;
#[path = "../../tests/support/pki.rs"]
#[expect(
    clippy::unwrap_used,
    dead_code,
    reason = "it is written for the tests, which need more of it"
)]
mod pki;
mod plan;
mod rotation;
mod samples;
mod serve;
mod sidecar;
mod stage;
mod summary;
mod tally;
mod verdict;
mod websocket;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What it is told.
struct Options {
    lasts: Duration,
    seed: u64,
    binary: PathBuf,
}

#[expect(clippy::print_stdout, reason = "it is what it is run for")]
fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            println!("{mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!(
        "soak of {} for {:?}, seed {}",
        options.binary.display(),
        options.lasts,
        options.seed
    );
    match stage::run(&options) {
        Ok((summary, violations)) => {
            println!("{summary}");
            for violation in &violations.told {
                println!("violation: {violation}");
            }
            println!("{} violations, seed {}", violations.count, options.seed);
            if violations.count == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            println!("the soak itself failed: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    /// None where it is not told for how long: plain `cargo bench` runs it like this.
    fn read(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (mut lasts, mut seed) = (None, None);
        while let Some(arg) = args.next() {
            match &*arg {
                "--for" => {
                    let value = args.next().unwrap_or_default();
                    let parsed = humantime::parse_duration(&value);
                    lasts = Some(parsed.map_err(|error| format!("--for {value}: {error}"))?);
                }
                "--seed" => {
                    let value = args.next().unwrap_or_default();
                    seed = Some(
                        value
                            .parse()
                            .map_err(|error| format!("--seed {value}: {error}"))?,
                    );
                }
                // Cargo says this to all benches.
                "--bench" => {}
                // A filter is for other benches.
                _ if lasts.is_none() && !arg.starts_with("--") => {}
                _ => return Err(format!("unknown: {arg}")),
            }
        }
        let binary = std::env::var_os("PORTCULLIS_BIN").map_or_else(
            || PathBuf::from(env!("CARGO_BIN_EXE_portcullis")),
            PathBuf::from,
        );
        Ok(lasts.map(|lasts| Self {
            lasts,
            seed: seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
            binary,
        }))
    }
}

const USAGE: &str = "soak: nothing to do without --for DURATION (like 2m; --seed N to repeat a run; PORTCULLIS_BIN is the sidecar)";
