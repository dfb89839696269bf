//! The exchanges that are open now. Each worker has its own list; who wants to know sends a question to all workers, and each
//! answers between two of its tasks.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use slab::Slab;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::asked::Asked;
use crate::conn::Conn;
use crate::http::RequestProgress;

/// A worker's open exchanges.
#[derive(Debug, Default)]
pub(crate) struct Inflight(RefCell<Slab<Open>>);

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) id: Uuid,
    pub(crate) started: Instant,
    pub(crate) conn: Rc<Conn>,
    pub(crate) progress: Rc<RequestProgress>,
    /// What is asked for, as soon as it could be read.
    pub(crate) asked: Option<Rc<Asked>>,
    /// The client, where a trusted proxy has named one.
    pub(crate) client: Option<Rc<str>>,
    /// Both sides speak another protocol by now.
    pub(crate) is_tunnel: bool,
}

/// Answered by a worker on its own thread.
pub(crate) type Question = Box<dyn FnOnce(&Inflight) + Send>;

/// All workers, to be asked.
#[derive(Debug, Default)]
pub(crate) struct Roll(Mutex<Vec<mpsc::UnboundedSender<Question>>>);

impl Roll {
    /// A worker is there: the questions for it.
    pub(crate) fn enter(&self) -> mpsc::UnboundedReceiver<Question> {
        let (sender, questions) = mpsc::unbounded_channel();
        let mut workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        workers.push(sender);
        questions
    }

    /// Asks all workers, and tells how many there are.
    pub(crate) fn ask(&self, question: impl Fn(&Inflight) + Clone + Send + 'static) -> usize {
        let mut workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended has nothing open.
        workers.retain(|worker| worker.send(Box::new(question.clone())).is_ok());
        workers.len()
    }
}

impl Inflight {
    /// Answers questions for as long as there may be any.
    pub(crate) async fn answer(self: Rc<Self>, mut questions: mpsc::UnboundedReceiver<Question>) {
        while let Some(question) = questions.recv().await {
            question(&self);
        }
    }

    pub(super) fn add(&self, open: Open) -> usize {
        self.0.borrow_mut().insert(open)
    }

    pub(super) fn change(&self, key: usize, change: impl FnOnce(&mut Open)) {
        if let Some(open) = self.0.borrow_mut().get_mut(key) {
            change(open);
        }
    }

    pub(super) fn remove(&self, key: usize) {
        // Dropped when the list may be borrowed again.
        let removed = self.0.borrow_mut().try_remove(key);
        drop(removed);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// The `most` oldest, oldest first.
    pub(crate) fn oldest(&self, most: usize) -> Vec<Open> {
        let all = self.0.borrow();
        let mut ages: Vec<_> = all.iter().map(|(key, open)| (open.started, key)).collect();
        // There may be a million, and the worker has other things to do.
        if ages.len() > most {
            ages.select_nth_unstable(most);
            ages.truncate(most);
        }
        ages.sort_unstable();
        ages.into_iter().map(|(_, key)| all[key].clone()).collect()
    }
}

impl Open {
    /// Who has to do something for it to go on.
    pub(crate) fn waiting_for(&self) -> &'static str {
        let progress = &self.progress;
        let for_client = progress.is_awaiting_client()
            || progress.is_client_blocked()
            || self.conn.wire.is_blocked();
        match (for_client, progress.is_awaiting_upstream()) {
            (true, true) => "both",
            (true, false) => "client",
            // Either may say something, or nothing for hours.
            (false, false) if self.is_tunnel => "nobody",
            // Its body is awaited, or its head.
            (false, _) => "upstream",
        }
    }
}
