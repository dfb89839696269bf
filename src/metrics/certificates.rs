//! The certificate room in numbers.

use std::fmt;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::DescriptorEncoder;

use super::expose::Facts;
use super::snapshot::{Labels, counter, gauge, unix};

/// What is known of one part: files that are loaded together.
#[derive(Clone, Debug)]
pub(crate) struct PartFacts {
    /// Its folder, or its first file.
    pub name: String,
    /// The first end of validity of each kind of element, Unix time.
    pub not_after: Vec<(&'static str, i64)>,
    /// For how long what is on disk has not been what is served.
    pub differs_for: Option<Duration>,
    /// A look with a client's eyes showed another certificate than was published.
    pub is_not_shown: bool,
    /// It can never change on disk.
    pub is_mount_dead: bool,
    /// The kernel tells of changes.
    pub is_watched: bool,
    /// Reloads by result.
    pub reloads: [(&'static str, u64); 2],
    /// When the files on disk were last found to be what is served.
    pub last_success: Option<SystemTime>,
}

pub(super) fn encode(to: &mut DescriptorEncoder<'_>, facts: &Facts) -> fmt::Result {
    let parts = &facts.parts;
    let named = |part: &PartFacts| vec![("name", part.name.clone())];
    let dates = parts.iter().flat_map(|part| {
        let label = |element: &str| {
            let mut labels = named(part);
            labels.push(("element", element.to_owned()));
            labels
        };
        let sample = move |(element, at): &(&'static str, i64)| (label(element), *at as f64);
        part.not_after.iter().map(sample)
    });
    gauge(
        to,
        "certificate_not_after_seconds",
        "End of validity as Unix time, of the first element of its kind to expire",
        dates,
    )?;
    let each = |value: fn(&PartFacts) -> f64| {
        let sample = move |part: &PartFacts| (named(part), value(part));
        parts.iter().map(sample).collect::<Vec<(Labels, f64)>>()
    };
    gauge(
        to,
        "certificate_disk_differs",
        "Seconds for which what is on disk has not been what is served; 0 when it is",
        each(|part| {
            // More than nothing from the first moment on.
            let seconds = part.differs_for.map(|time| time.as_secs_f64());
            seconds.map_or(0.0, |seconds| seconds.max(0.001))
        }),
    )?;
    gauge(
        to,
        "certificate_not_shown",
        "1 when another certificate than the one published was seen on the own listener",
        each(|part| f64::from(u8::from(part.is_not_shown))),
    )?;
    gauge(
        to,
        "certificate_mount_dead",
        "1 when the files are mounted in a way that never changes (subPath, single file)",
        each(|part| f64::from(u8::from(part.is_mount_dead))),
    )?;
    gauge(
        to,
        "certificate_watched",
        "1 while the kernel tells of changes of the files; 0 while they are looked at once a second instead",
        each(|part| f64::from(u8::from(part.is_watched))),
    )?;
    gauge(
        to,
        "certificate_generation",
        "Counts up with each change of what is served",
        [(vec![], facts.generation as f64)],
    )?;
    let results = ["published", "failed"].map(|result| {
        let counts = parts.iter().flat_map(|part| part.reloads);
        let count = counts
            .filter(|(of, _)| *of == result)
            .map(|(_, count)| count);
        (vec![("result", result.to_owned())], count.sum())
    });
    counter(
        to,
        "certificate_reloads",
        "Reloads by result; looks at unchanged files are not counted",
        results,
    )?;
    // The oldest, and one that never was is older than all: a part that fails must not hide behind another that does not.
    let successes = parts.iter().map(|part| part.last_success.map_or(0.0, unix));
    let is_any = parts.iter().any(|part| part.last_success.is_some());
    let oldest = successes.reduce(f64::min).filter(|_| is_any);
    gauge(
        to,
        "certificate_last_reload_success_seconds",
        "When the files on disk were last found to be what is served; of several parts, the oldest",
        oldest.map(|at| (vec![], at)),
    )
}
