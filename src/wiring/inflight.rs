//! What is open now, asked of all workers.

use std::time::Duration;

use portcullis_admin::{Inflight, InflightEntry, InflightView, Waiting};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::House;
use crate::records::{self, Open, Policy, Roll, cut};

/// One worker's answer: how many are open, and the oldest of them.
type Answer = (usize, Vec<InflightEntry>);

impl Inflight for House {
    fn open(&self, most: usize) -> Waiting<'_, InflightView> {
        let (to, mut answers) = mpsc::unbounded_channel::<Answer>();
        let asked = self.roll.ask(move |inflight: &records::Inflight| {
            let oldest = inflight.oldest(most.min(MOST));
            // Who has asked may have given up waiting.
            let _ = to.send((inflight.count(), oldest.iter().map(entry).collect()));
        });
        Box::pin(async move {
            let mut view = InflightView {
                total: 0,
                workers_asked: asked,
                workers_answered: 0,
                entries: Vec::new(),
            };
            let hearing = async {
                while let Some((total, entries)) = answers.recv().await {
                    view.total += total;
                    view.workers_answered += 1;
                    view.entries.extend(entries);
                }
            };
            // One that is too busy to answer is one whose answer is missing, and the view says so.
            let _ = timeout(PATIENCE, hearing).await;
            view.entries
                .sort_by_key(|entry| std::cmp::Reverse(entry.age_ms));
            view
        })
    }
}

/// Has all workers hand over their finished records.
pub(super) async fn settle(roll: &Roll) {
    let (to, mut answers) = mpsc::unbounded_channel::<()>();
    roll.ask(move |_| {
        records::hand_over();
        let _ = to.send(());
    });
    let hearing = async { while answers.recv().await.is_some() {} };
    let _ = timeout(MOMENT, hearing).await;
}

fn entry(open: &Open) -> InflightEntry {
    let asked = open.asked.as_deref();
    let policy = &*open.conn.site.policy;
    InflightEntry {
        id: open.id.to_string(),
        kind: if open.is_tunnel { "tunnel" } else { "exchange" },
        age_ms: open.started.elapsed().as_millis() as u64,
        client: open
            .client
            .as_deref()
            .unwrap_or(&open.conn.client_ip)
            .to_owned(),
        client_id: open
            .conn
            .peer
            .as_ref()
            .map(|peer| text(policy, peer.name.as_bytes())),
        method: asked
            .and_then(|asked| asked.method())
            .map(|method| text(policy, method.as_bytes())),
        host: asked
            .and_then(|asked| asked.host())
            .map(|host| text(policy, host)),
        path: asked
            .and_then(|asked| asked.path())
            .map(|path| text(policy, path)),
        http: asked.and_then(|asked| asked.http()),
        waiting_for: open.waiting_for(),
        bytes_in: open.progress.bytes(),
    }
}

/// What a client has said, as far as it may be shown, and no longer than in a record.
fn text(policy: &Policy, said: &[u8]) -> String {
    let shown = policy.shown(said);
    let shown = String::from_utf8_lossy(&shown);
    let (beginning, rest) = cut(&shown);
    [beginning, rest].concat()
}

/// Of one worker.
const MOST: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(1);
/// Who is busy hands over within a second by itself.
const MOMENT: Duration = Duration::from_millis(100);
