//! The application's health as `/app` tells it: one question at a time, whose answer all share who ask meanwhile or within a
//! second. So a flood of probes is no flood on the application.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_admin::{AppHealth, AppTrouble, AppView, Waiting};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout};

use super::House;
use crate::config::Config;
use crate::upstream::{Target, Targets, ask};

/// What the application is asked, and what it answered last.
#[derive(Debug)]
pub(super) struct Question {
    path: String,
    targets: Arc<Targets>,
    last: Arc<Mutex<Option<Answer>>>,
    /// Those who ask, or wait for who does.
    waiting: AtomicUsize,
}

type Health = Result<AppView, AppTrouble>;

#[derive(Debug)]
struct Answer {
    /// When it was there.
    at: Instant,
    /// The number of the target that was asked.
    target: u64,
    health: Health,
}

impl Question {
    /// None where there is nothing to ask.
    pub(super) fn new(config: &Config, targets: &Arc<Targets>) -> Option<Arc<Self>> {
        let path = config.app_health.clone()?;
        let (targets, last) = (Arc::clone(targets), Arc::default());
        Some(Arc::new(Self {
            path,
            targets,
            last,
            waiting: AtomicUsize::new(0),
        }))
    }

    /// Those who wait hold places of their plane, which others need: beyond a few, nobody waits long.
    async fn health(self: Arc<Self>) -> Health {
        let _waits = Counted::new(&self.waiting);
        if self.waiting.load(Ordering::Relaxed) <= MOST_WAITING {
            return Arc::clone(&self).asked().await;
        }
        let asked = timeout(PATIENCE, Arc::clone(&self).asked()).await;
        asked.unwrap_or_else(|_| {
            Err(AppTrouble {
                reason: "app_timeout",
                detail: "the application takes long to answer, and many wait for it already"
                    .to_owned(),
            })
        })
    }

    async fn asked(self: Arc<Self>) -> Health {
        let last = Arc::clone(&self.last).lock_owned().await;
        let target = self.targets.current();
        if let Some(answer) = &*last
            && answer.target == target.number
            && answer.at.elapsed() < STILL_TRUE
        {
            return answer.health.clone();
        }
        // As a task of its own: whoever hangs up ends no question, so hanging up and coming back starts no other.
        let asking = tokio::spawn(self.asks(target, last));
        asking.await.unwrap_or_else(|error| {
            Err(AppTrouble {
                reason: "app_unreachable",
                detail: format!("asking the application failed: {error}"),
            })
        })
    }

    async fn asks(
        self: Arc<Self>,
        target: Arc<Target>,
        mut last: OwnedMutexGuard<Option<Answer>>,
    ) -> Health {
        let health = judge(&self.path, &target, &self.targets).await;
        *last = Some(Answer {
            at: Instant::now(),
            target: target.number,
            health: health.clone(),
        });
        health
    }
}

/// As the kubelet judges: 200 to 399 is well.
async fn judge(path: &str, target: &Target, targets: &Targets) -> Health {
    let what = format!("GET {path} of the application at {}", target.url);
    match ask(target, &targets.own(), path, LIMIT).await {
        Ok(answered) if (200..400).contains(&answered.status.as_u16()) => Ok(AppView {
            status: "ok",
            app_status: answered.status.as_u16(),
            target: target.url.to_string(),
            path: path.to_owned(),
            address: answered.address.map(|address| address.to_string()),
        }),
        Ok(answered) => Err(AppTrouble {
            reason: "app_status",
            detail: format!("{what}: it answered {}", answered.status),
        }),
        Err(error) => Err(AppTrouble {
            reason: if error.is_late() {
                "app_timeout"
            } else {
                "app_unreachable"
            },
            detail: format!("{what}: {error}"),
        }),
    }
}

impl AppHealth for House {
    fn health(&self) -> Waiting<'_, Option<Health>> {
        Box::pin(async move {
            let question = self.app.clone()?;
            Some(question.health().await)
        })
    }
}

/// Counts one for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Those who may wait for as long as it takes, and how long others do.
const MOST_WAITING: usize = 16;
const PATIENCE: Duration = Duration::from_secs(1);
/// For one question, all of it.
const LIMIT: Duration = Duration::from_secs(5);
/// How long an answer is given again.
const STILL_TRUE: Duration = Duration::from_secs(1);
