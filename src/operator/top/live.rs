//! The screen as it goes on: news, keys, signals, and one drawing for each interval and key.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::Event;
use time::OffsetDateTime;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{Instant, sleep_until};

use super::super::Trouble;
use super::super::plane::Plane;
use super::controls::{Controls, Wish};
use super::feed;
use super::model::{Model, News};
use super::session::{self, Endings, Session};
use super::text::Look;
use super::view::{self, Occasion};

/// Runs until whoever looks has seen enough.
pub(super) async fn run(plane: &Plane, every: Duration, look: Look) -> Result<(), Trouble> {
    // Whom nobody can ask is told of before the terminal is taken.
    let first = feed::look(plane).await?;
    let mut endings = Endings::new()?;
    let mut live = Live {
        session: Session::open()?,
        model: Model::new(OffsetDateTime::now_utc()),
        frozen: None,
        controls: Controls::default(),
        look,
    };
    let keyboard = session::keyboard()?;
    let (to, news) = mpsc::channel(NEWS);
    live.model.take(first, OffsetDateTime::now_utc());
    tokio::select! {
        never = feed::poll(plane, every, &to) => match never {},
        never = feed::follow(plane, &to) => match never {},
        ended = live.go_on(news, keyboard, every) => ended,
        () = endings.wait() => Ok(()),
    }
}

struct Live {
    session: Session,
    model: Model,
    /// What is shown while the screen stands still.
    frozen: Option<Model>,
    controls: Controls,
    look: Look,
}

impl Live {
    async fn go_on(
        &mut self,
        mut news: Receiver<News>,
        mut keyboard: Receiver<io::Result<Event>>,
        every: Duration,
    ) -> Result<(), Trouble> {
        loop {
            self.draw()?;
            let late = Instant::now() + every * 2;
            loop {
                tokio::select! {
                    Some(news) = news.recv() => {
                        let is_look = matches!(news, News::Polled(_) | News::Lost(_));
                        self.model.take(news, OffsetDateTime::now_utc());
                        if is_look {
                            break;
                        }
                    }
                    event = keyboard.recv() => match self.hear(event)? {
                        Wish::Quit => return Ok(()),
                        Wish::Nothing => {}
                        _ => break,
                    },
                    // An admin plane that is slow to answer does not stop the clock.
                    () = sleep_until(late) => break,
                }
            }
        }
    }

    fn hear(&mut self, event: Option<io::Result<Event>>) -> Result<Wish, Trouble> {
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(session::trouble("reading the keyboard", &error)),
            None => return Ok(Wish::Quit),
        };
        let wish = match event {
            Event::Key(key) => self.controls.press(key),
            Event::Resize(..) => Wish::Redraw,
            _ => Wish::Nothing,
        };
        match wish {
            Wish::Pause => self.frozen = self.controls.is_paused.then(|| self.model.clone()),
            Wish::Reset => {
                self.model.reset(OffsetDateTime::now_utc());
                self.frozen = self.frozen.take().map(|_| self.model.clone());
            }
            Wish::Repaint => {
                let cleared = self.session.terminal.clear();
                cleared.map_err(|error| session::trouble("writing to the terminal", &error))?;
            }
            Wish::Redraw | Wish::Quit | Wish::Nothing => {}
        }
        Ok(wish)
    }

    fn draw(&mut self) -> Result<(), Trouble> {
        let model = self.frozen.as_ref().unwrap_or(&self.model);
        let occasion = Occasion {
            look: self.look,
            now: OffsetDateTime::now_utc(),
            has_keys: true,
        };
        let controls = &mut self.controls;
        let drawn = self.session.terminal.draw(|frame| {
            view::draw(frame.area(), frame.buffer_mut(), model, controls, &occasion);
        });
        drawn
            .map(|_| ())
            .map_err(|error| session::trouble("writing to the terminal", &error))
    }
}

/// News that may wait; who sends more waits, and records that are missed are counted by the sidecar.
const NEWS: usize = 64;
