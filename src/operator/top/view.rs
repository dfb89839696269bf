//! The screen: a heading, figures, tables, and a line of keys. Draws into a buffer, and knows no terminal.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, Widget};
use time::OffsetDateTime;

use super::controls::{Controls, Table};
use super::figures::{self, Row, clock};
use super::help;
use super::model::Model;
use super::tables::{self, Place};
use super::text::{Look, pace, put};
use crate::terminal::Ink;

/// What a screen is drawn for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occasion {
    pub(super) look: Look,
    pub(super) now: OffsetDateTime,
    /// Whether there is a keyboard, whose keys are named.
    pub(super) has_keys: bool,
}

/// What is shown, and how.
#[derive(Clone, Copy, Debug)]
struct Show<'a> {
    model: &'a Model,
    look: Look,
}

/// Draws the whole screen.
pub(super) fn draw(
    area: Rect,
    buffer: &mut Buffer,
    model: &Model,
    controls: &mut Controls,
    occasion: &Occasion,
) {
    let look = occasion.look;
    let rows = rows(area, model, occasion.now);
    let keys = u16::from(occasion.has_keys);
    // A picture of one moment has no course.
    let chart = if occasion.has_keys {
        chart_height(area)
    } else {
        0
    };
    let [heading, figures, chart, tables, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(u16::try_from(rows.len()).unwrap_or(u16::MAX)),
        Constraint::Length(chart),
        Constraint::Fill(1),
        Constraint::Length(keys),
    ])
    .areas(area);
    put(buffer, heading, &look.line(&figures::heading(model)));
    draw_rows(figures, buffer, &rows, look);
    let show = Show { model, look };
    if occasion.has_keys {
        draw_chart(chart, figures, &rows, buffer, show);
    }
    draw_tables(tables, buffer, show, controls);
    draw_keys(keys, buffer, controls, occasion);
    if controls.is_helping {
        help::draw(area, buffer, look);
    }
}

/// The rows of figures: all that are always there, and so many of the others as leave the tables their room.
fn rows(area: Rect, model: &Model, now: OffsetDateTime) -> Vec<Row> {
    let room = usize::from(area.height.saturating_sub(USUAL_ROWS) / 3).max(FEWEST);
    let mut rows = limited(figures::notes(model, now), room, "portcullis status");
    rows.extend(figures::figures(model));
    let certificates = figures::certificates(model, now);
    rows.extend(limited(certificates, room, "portcullis certs"));
    rows
}

/// So many rows at most. Where there are more, the last one says so, and what shows them all.
fn limited(mut rows: Vec<Row>, room: usize, shows_all: &str) -> Vec<Row> {
    if rows.len() > room {
        let more = rows.len() - (room - 1);
        rows.truncate(room - 1);
        let words = format!("and {more} more: {shows_all}");
        rows.push(("", vec![(Ink::Faint, words)]));
    }
    rows
}

fn draw_rows(area: Rect, buffer: &mut Buffer, rows: &[Row], look: Look) {
    for (y, (label, parts)) in (area.y..area.bottom()).zip(rows) {
        let mut line = look.line(parts);
        let label = Span::styled(format!("{label:<LABEL$}"), look.style(Ink::Faint));
        line.spans.insert(0, label);
        put(
            buffer,
            Rect {
                y,
                height: 1,
                ..area
            },
            &line,
        );
    }
}

/// Where there is room to the right of the figures, the chart has it.
fn beside(figures: Rect) -> Option<Rect> {
    let free = figures.width.checked_sub(FIGURES)?;
    (free >= NARROWEST_CHART).then(|| Rect {
        x: figures.x + FIGURES,
        width: free,
        ..figures
    })
}

/// Rows of the chart under the figures, where there is none beside them.
fn chart_height(area: Rect) -> u16 {
    match (area.width >= FIGURES + NARROWEST_CHART, area.height) {
        (true, _) | (_, ..34) => 0,
        (_, ..44) => 3,
        _ => 5,
    }
}

/// Requests a second, as far back as there is room: beside the figures, below them, or behind the first of them.
fn draw_chart(below: Rect, figures: Rect, rows: &[Row], buffer: &mut Buffer, show: Show<'_>) {
    let beside = beside(figures);
    let Some(area) = beside.or_else(|| (!below.is_empty()).then_some(below)) else {
        return sparkline(behind(figures, rows), buffer, show);
    };
    let width = usize::from(area.width);
    let most = show.model.chart.iter().rev().take(width).max();
    let most = most.map_or(0.0, |most| *most as f64 / 10.0);
    let words = format!("requests/s, at most {}", pace(most));
    put(
        buffer,
        area,
        &Line::styled(words, show.look.style(Ink::Faint)),
    );
    let bars = Rect {
        y: area.y.saturating_add(1),
        height: area.height.saturating_sub(1),
        ..area
    };
    sparkline(bars, buffer, show);
}

/// In the row of the requests, behind their number.
fn behind(figures: Rect, rows: &[Row]) -> Rect {
    let row = rows.iter().position(|(label, _)| *label == "requests");
    let row = row.and_then(|row| u16::try_from(row).ok());
    Rect {
        x: figures.x.saturating_add(REQUESTS),
        y: figures.y.saturating_add(row.unwrap_or_default()),
        width: figures.width.saturating_sub(REQUESTS),
        height: 1,
    }
}

/// The newest on the right.
fn sparkline(area: Rect, buffer: &mut Buffer, show: Show<'_>) {
    let chart = &show.model.chart;
    let width = usize::from(area.width);
    let known = chart.len().min(width);
    let newest = chart.iter().skip(chart.len() - known).copied();
    let data: Vec<u64> = std::iter::repeat_n(0, width - known)
        .chain(newest)
        .collect();
    let style = show.look.style(Ink::Green);
    let drawn = Sparkline::default().data(&data).style(style);
    drawn.render(area.intersection(buffer.area), buffer);
}

/// As many tables as there is room for: those that are not shown come when they are in hand.
fn draw_tables(area: Rect, buffer: &mut Buffer, show: Show<'_>, controls: &mut Controls) {
    let first = controls.upper();
    let mut one = |table, area| {
        let mut place = Place {
            area,
            model: show.model,
            look: show.look,
            controls: &mut *controls,
        };
        tables::draw(table, &mut place, buffer);
    };
    let [upper, errors] = Layout::vertical([Constraint::Fill(3), Constraint::Fill(2)]).areas(area);
    if area.width >= SIDE_BY_SIDE {
        let [left, right] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)])
            .spacing(2)
            .areas(upper);
        one(Table::Paths, left);
        one(Table::Clients, right);
        one(Table::Errors, errors);
        return;
    }
    if area.height >= ALL_THREE {
        let [paths, clients, errors] = Layout::vertical([
            Constraint::Fill(4),
            Constraint::Fill(2),
            Constraint::Fill(3),
        ])
        .areas(area);
        one(Table::Paths, paths);
        one(Table::Clients, clients);
        one(Table::Errors, errors);
        return;
    }
    one(first, upper);
    one(Table::Errors, errors);
}

fn draw_keys(area: Rect, buffer: &mut Buffer, controls: &Controls, occasion: &Occasion) {
    let look = occasion.look;
    let mut spans = Vec::new();
    for (key, does) in KEYS {
        spans.push(Span::styled(format!(" {key}"), look.style(Ink::Bold)));
        spans.push(Span::styled(format!(" {does} "), look.style(Ink::Faint)));
    }
    put(buffer, area, &Line::from(spans));
    let clock = if controls.is_paused {
        Line::styled(" PAUSED ", look.style(Ink::Red))
    } else {
        Line::styled(
            format!(" {} UTC", clock(occasion.now)),
            look.style(Ink::Faint),
        )
    };
    let width = u16::try_from(clock.width())
        .unwrap_or(u16::MAX)
        .min(area.width);
    let right = Rect {
        x: area.right().saturating_sub(width),
        width,
        ..area
    };
    put(buffer, right, &clock);
}

/// Those that fit into a line.
const KEYS: [(&str, &str); 7] = [
    ("q", "quit"),
    ("p", "pause"),
    ("s", "sort"),
    ("Tab", "table"),
    ("↑↓", "scroll"),
    ("r", "reset"),
    ("?", "help"),
];
/// Columns of the labels, with what sets them apart.
const LABEL: usize = 13;
/// Columns of the requests, label and number.
const REQUESTS: u16 = 25;
/// Columns of the figures where something stands beside them.
const FIGURES: u16 = 82;
/// Columns of a chart that is worth it.
const NARROWEST_CHART: u16 = 28;
/// Rows of the smallest screen that shows all.
const USUAL_ROWS: u16 = 22;
/// Rows for what is not always there, on a screen however small.
const FEWEST: usize = 3;
/// Columns from which two tables stand side by side.
const SIDE_BY_SIDE: u16 = 132;
/// Rows from which all tables stand one upon the other.
const ALL_THREE: u16 = 20;
