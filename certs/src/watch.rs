//! Reloading when the files change, for as long as the process lives.
//!
//! Three sources of a trigger, because each alone has failed somebody:
//! - inotify on the *folder*. A watch on the file or on `..data` goes silent after the first swap.
//! - a poll behind it. `fs.inotify.max_user_instances` is shared by everybody on a node, `subPath` mounts and some file
//!   systems never notify.
//! - the caller's own triggers (SIGHUP, the admin plane), which call [`Store::reload`] themselves.
//!
//! A rename onto `..data` or onto a watched file completes a replacement and is acted on at once. Any other event may be
//! one half of a write, so quiet is awaited first. Nothing in here ends the loop.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use crate::attempt::{Attempt, Outcome, Trigger};
use crate::inotify::Watch;
use crate::store::Store;

/// Watches all parts for ever, beginning with a look at each. Each has a loop of its own, so that one that is broken, or on
/// a file system that hangs, does not stop the others.
pub async fn watch(store: Arc<Store>) -> Infallible {
    let mut loops = JoinSet::new();
    for number in 0..store.parts.len() {
        let store = Arc::clone(&store);
        loops.spawn(async move {
            loop {
                // A task of its own: a panic would be a defect, and must not be the end of all renewals.
                let watching = tokio::spawn(watch_part(Arc::clone(&store), number));
                let Err(error) = watching.await;
                tracing::error!(%error, "watching a certificate failed; beginning again");
                sleep(POLL_BLIND).await;
            }
        });
    }
    while loops.join_next().await.is_some() {}
    // Only without a part.
    pending().await
}

async fn watch_part(store: Arc<Store>, number: usize) -> Infallible {
    let mut watch = Watch::new(store.parts[number].part.clone());
    // After a failure, how long until the next look: a write may be in progress.
    let mut again: Option<Duration> = None;
    // Something was written in place since the last look that found all in order.
    let mut is_written = false;
    loop {
        let is_watching;
        (watch, is_watching) = open(watch).await;
        store.parts[number]
            .is_watched
            .store(is_watching, Ordering::Relaxed);
        let period = match (is_watching, again) {
            (true, None) => POLL,
            (true, Some(again)) => again,
            (false, again) => again.unwrap_or(POLL_BLIND).min(POLL_BLIND),
        };
        let told = watch.changed(period).await;
        let trigger = match told {
            None => Trigger::Poll,
            Some(_) => Trigger::Notify,
        };
        is_written |= told == Some(false);
        let is_settled = told == Some(true) && !is_written;
        let attempted = attempt(&store, number, trigger, is_settled).await;
        let is_well = attempted
            .as_ref()
            .is_some_and(|attempt| !matches!(attempt.outcome, Outcome::Failed(_)));
        if let Some(attempt) = attempted {
            // Nobody waits for that: the next swap may be there already.
            let store = Arc::clone(&store);
            spawn_blocking(move || store.look(number, attempt));
        }
        is_written &= !is_well;
        again = if is_well {
            None
        } else if trigger == Trigger::Poll {
            Some(again.map_or(FIRST_AGAIN, |again| (again * 2).min(POLL)))
        } else {
            Some(FIRST_AGAIN)
        };
    }
}

/// Off the runtime, as everything that touches the file system: a hanging network mount must not stop probes and signals.
async fn open(mut watch: Watch) -> (Watch, bool) {
    let opened = spawn_blocking(move || {
        let is_watching = watch.open();
        (watch, is_watching)
    });
    match opened.await {
        Ok(opened) => opened,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn attempt(
    store: &Arc<Store>,
    number: usize,
    trigger: Trigger,
    is_settled: bool,
) -> Option<Attempt> {
    let store = Arc::clone(store);
    spawn_blocking(move || store.attempt(number, trigger, is_settled))
        .await
        .ok()
}

/// Behind a working watch.
const POLL: Duration = Duration::from_secs(30);
/// Without a watch.
pub(crate) const POLL_BLIND: Duration = Duration::from_secs(1);
/// After a failure; doubled with each failed look that follows, up to [`POLL`].
const FIRST_AGAIN: Duration = Duration::from_millis(250);
