//! The terminal, taken and given back: whatever way this ends, it is as it was before.

use std::io::{self, Stdout};
use std::mem::ManuallyDrop;
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};

use super::super::Trouble;

/// The terminal while it is ours.
#[derive(Debug)]
pub(super) struct Session {
    /// Never dropped: where it is gone, ratatui's own end would say so on it, and panic.
    pub(super) terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
}

impl Session {
    /// Takes the terminal. A panic gives it back before it tells what it was, so that this can be read.
    pub(super) fn open() -> Result<Self, Trouble> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self {
                terminal: ManuallyDrop::new(terminal),
            }),
            Err(error) => {
                // As much of it as was taken.
                let _ = ratatui::try_restore();
                Err(trouble("taking the terminal", &error))
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// What comes from the keyboard. A thread reads it, which ends with the process: nothing else can be woken from such a read.
pub(super) fn keyboard() -> Result<Receiver<io::Result<Event>>, Trouble> {
    let (to, events) = mpsc::channel(64);
    let reading = move || loop {
        let event = event::read();
        let is_over = event.is_err();
        if to.blocking_send(event).is_err() || is_over {
            return;
        }
    };
    thread::Builder::new()
        .name("keyboard".to_owned())
        .spawn(reading)
        .map_err(|error| trouble("reading the keyboard", &error))?;
    Ok(events)
}

/// The signals that end it.
#[derive(Debug)]
pub(super) struct Endings([Signal; 3]);

impl Endings {
    pub(super) fn new() -> Result<Self, Trouble> {
        let on = |kind| signal(kind).map_err(|error| trouble("waiting for signals", &error));
        Ok(Self([
            on(SignalKind::terminate())?,
            on(SignalKind::interrupt())?,
            on(SignalKind::hangup())?,
        ]))
    }

    /// The first that comes.
    pub(super) async fn wait(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// What does not work with the terminal.
pub(super) fn trouble(doing: &str, error: &io::Error) -> Trouble {
    Trouble::Negative(format!(
        "{doing}: {error}; with --once no terminal is needed"
    ))
}
