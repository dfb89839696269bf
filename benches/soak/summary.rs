//! What is printed at the end.

use std::fmt::Write as _;
use std::time::Duration;

use crate::samples::{Sample, WATCHED, median};
use crate::tally::Tally;
use crate::verdict::Ending;

pub(crate) fn table(tally: &Tally, samples: &[Sample], lasted: Duration) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = requests(&mut out, tally);
    let rate = tally.total() as f64 / lasted.as_secs_f64();
    let (p50, p99) = (
        tally.latencies.quantile(0.5),
        tally.latencies.quantile(0.99),
    );
    let _ = writeln!(
        out,
        "\n{} requests in {:.0} s, {rate:.0} a second; short answers p50 {p50:.1} ms, p99 {p99:.1} ms",
        tally.total(),
        lasted.as_secs_f64()
    );
    let _ = writeln!(
        out,
        "records: {} exchange, {} handshake, {} audit",
        tally.exchanges, tally.handshakes, tally.audits
    );
    for (reason, count) in &tally.nameless {
        let _ = writeln!(out, "  without a request: {count} {reason}");
    }
    for (what, count) in &tally.events {
        let _ = writeln!(out, "{what}: {count}");
    }
    let _ = sizes(&mut out, samples);
    out
}

fn requests(out: &mut String, tally: &Tally) -> std::fmt::Result {
    writeln!(
        out,
        "\n{:14}{:10}{:>9}{:>7}{:>7}{:>8}{:>7}{:>7}",
        "over", "asked for", "served", "again", "died", "killed", "stale", "left"
    )?;
    for ((wire, kind), endings) in &tally.requests {
        let count = |ending| endings.get(&ending).copied().unwrap_or_default();
        writeln!(
            out,
            "{wire:14}{kind:10}{:>9}{:>7}{:>7}{:>8}{:>7}{:>7}",
            count(Ending::Served),
            count(Ending::Again),
            count(Ending::Died),
            count(Ending::Killed),
            count(Ending::Stale),
            count(Ending::Left)
        )?;
    }
    writeln!(
        out,
        "(again: served on a second connection; died, killed: with its application; stale: on a connection that was going)"
    )
}

fn sizes(out: &mut String, samples: &[Sample]) -> std::fmt::Result {
    let third = samples.len() / 3;
    for watched in &WATCHED {
        let values = samples.iter().map(watched.of);
        writeln!(
            out,
            "{:12} first {:>7}  last {:>7}  most {:>7}  medians of the thirds {:>7} {:>7} {:>7}",
            watched.name,
            samples.first().map(watched.of).unwrap_or_default(),
            samples.last().map(watched.of).unwrap_or_default(),
            values.max().unwrap_or_default(),
            median(&samples[..third], watched.of),
            median(&samples[third..2 * third], watched.of),
            median(&samples[2 * third..], watched.of)
        )?;
    }
    Ok(())
}
