//! The command line, made from the table of options.

use clap::builder::Str;
use clap::{Arg, ArgAction, Command};

use super::options::Opt;
use super::table::{options, webhook};

/// The command line of `run`, `demo`, `webhook` and `check`.
pub fn command() -> Command {
    let run = Command::new("run")
        .about("Serve: terminate TLS, forward to the application, log every request");
    let demo = Command::new("demo")
        .about("See it work here: an application, a CA and the sidecar, with lines to try");
    let check = Command::new("check")
        .about("Say what would be run: values and origins, certificates, ports, exposure");
    Command::new("portcullis")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Portcullis stands in a pod beside an application nobody dares to change and gives it HTTPS")
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([run, demo].map(with_options))
        .subcommand(with_options(check).after_help(format!("{CHECK}\n{AFTER}")))
        .subcommand(
            Command::new("webhook")
                .about("Inject sidecars where pods are made: a mutating admission webhook")
                .after_help(format!("{WEBHOOK}\n{AFTER}"))
                .args(webhook().map(arg)),
        )
}

fn with_options(command: Command) -> Command {
    command.after_help(AFTER).args(options().map(arg))
}

fn arg(opt: &'static Opt) -> Arg {
    let arg = Arg::new(opt.name)
        .long(opt.name)
        .help_heading(opt.heading)
        .help(help(opt));
    let Some(value) = opt.value else {
        return arg.action(ArgAction::SetTrue);
    };
    let arg = arg
        .value_name(value)
        .action(if opt.many {
            ArgAction::Append
        } else {
            ArgAction::Set
        })
        .allow_hyphen_values(false);
    match opt.bare {
        Some(bare) => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value(Str::from(bare)),
        None => arg.num_args(1),
    }
}

fn help(opt: &Opt) -> String {
    let default = match (opt.default, opt.value) {
        (Some(default), Some(_)) => format!(" [default: {default}]"),
        _ => String::new(),
    };
    let repeats = match (opt.many, opt.commas) {
        (true, true) => " [may be repeated; commas in the environment]",
        (true, false) => " [may be repeated; one in the environment, several in the file]",
        (false, _) => "",
    };
    format!("{}{repeats}{default} [env: {}]", opt.help, opt.env())
}

const AFTER: &str = "\
Precedence: flag, environment, --config file, default. All mistakes are reported in one run.
DURATION is like 500ms, 5s or 1m 30s; SIZE is like 4096, 64KiB or 1MiB.";

const CHECK: &str = "\
Nothing is served, and no port is touched. Exit code 0 when it could be run, 2 when something is wrong.";

const WEBHOOK: &str = "\
POST /mutate takes AdmissionReview v1 (admission.k8s.io) and answers with a JSON Patch. It is an
application behind a sidecar as any other is: certificates are reloaded, requests are logged, planes
and drain are those of `run`. The default of --max-body is 4MiB here, that of --service-name
portcullis-webhook.";

const EXIT_CODES: &str = "\
Each command says more with --help.
Exit codes: 0 drained clean, 1 failed at run time or connections had to be cut, 2 bad flags or
configuration; of those that ask a running sidecar: 0 done, 1 refused or negative, 2 usage,
3 admin plane not reachable, 4 timed out.
Signals: TERM drains, INT drains without the delay, a second of either cuts, HUP re-reads
certificates, client CA, CRL, ticket seed and tokens, USR1 re-opens --log-file.";
