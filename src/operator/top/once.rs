//! One screen as plain text.

use std::io::Write;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::terminal;
use ratatui::layout::Rect;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::super::plane::Plane;
use super::super::{Trouble, show};
use super::controls::Controls;
use super::feed;
use super::model::Model;
use super::text::Look;
use super::view::{self, Occasion};

/// Looks, waits for an interval, looks again, and writes what came in between.
pub(super) async fn run(
    plane: &Plane,
    every: Duration,
    out: &mut impl Write,
) -> Result<(), Trouble> {
    let mut model = Model::new(OffsetDateTime::now_utc());
    let first = feed::look(plane).await?;
    model.take(first, OffsetDateTime::now_utc());
    let (to, mut news) = mpsc::channel(64);
    let gathered = async {
        while let Some(news) = news.recv().await {
            model.take(news, OffsetDateTime::now_utc());
        }
    };
    tokio::select! {
        never = feed::follow(plane, &to) => match never {},
        () = gathered => {}
        () = sleep(every) => {}
    }
    let second = feed::look(plane).await?;
    let now = OffsetDateTime::now_utc();
    model.take(second, now);
    let width = terminal::size().map_or(WIDTH, |(columns, _)| columns.clamp(80, 200));
    show(out, draw(&model, width, now).as_bytes())
}

/// The lines that have something in them.
pub(super) fn draw(model: &Model, width: u16, now: OffsetDateTime) -> String {
    let area = Rect::new(0, 0, width, HEIGHT);
    let mut buffer = Buffer::empty(area);
    let occasion = Occasion {
        look: Look { colour: false },
        now,
        has_keys: false,
    };
    view::draw(
        area,
        &mut buffer,
        model,
        &mut Controls::default(),
        &occasion,
    );
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(width)) {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        if !line.trim().is_empty() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// Where no terminal says how wide it is.
const WIDTH: u16 = 100;
/// Enough for all tables.
const HEIGHT: u16 = 60;
