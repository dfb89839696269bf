//! Waiting for an observation, never for a time.

use std::time::{Duration, Instant};

/// How long an observation may take before the test gives up. Generous: it is only ever used up by a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "gave up waiting: {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
