//! Panics: defects of ours, each of which costs what was being done and nothing else. Told in the log and counted.

use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// From now on panics are told in the program's own log.
pub(crate) fn tell() {
    panic::set_hook(Box::new(|info| {
        COUNT.fetch_add(1, Ordering::Relaxed);
        let said = info.payload_as_str().unwrap_or("no words");
        let place = info.location().map(tracing::field::display);
        tracing::error!(
            place,
            said,
            "a panic, which is a defect of Portcullis: please report it; what was being done is lost"
        );
    }));
}

/// Panics since the start.
pub(crate) fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Panics where a test wants it: at this path, in a debug build.
#[cfg(debug_assertions)]
pub(crate) fn where_wanted(path: &str) {
    use std::sync::OnceLock;
    static WANTED: OnceLock<Option<String>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| std::env::var("PORTCULLIS_TEST_PANIC_AT").ok());
    assert!(wanted.as_deref() != Some(path), "a test wants this panic");
}
