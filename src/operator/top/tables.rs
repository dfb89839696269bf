//! The lower part of the screen: tables under a rule each that says what they are and how their columns are called.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::controls::{Controls, Table};
use super::errors::Repeated;
use super::figures::{clock, clock_of};
use super::model::Model;
use super::tally::{Ranked, Tally};
use super::text::{Look, fitted, grouped, pace, percent, put};
use crate::terminal::{Ink, duration};

/// Where a table is drawn, and what is known and chosen for it.
pub(super) struct Place<'a> {
    pub(super) area: Rect,
    pub(super) model: &'a Model,
    pub(super) look: Look,
    pub(super) controls: &'a mut Controls,
}

/// Draws a table.
pub(super) fn draw(table: Table, place: &mut Place<'_>, buffer: &mut Buffer) {
    match table {
        Table::Paths => ranked(table, "paths", place, buffer),
        Table::Clients => ranked(table, "clients", place, buffer),
        Table::Errors => errors(place, buffer),
    }
}

fn ranked(table: Table, name: &str, place: &mut Place<'_>, buffer: &mut Buffer) {
    let model = place.model;
    let tally: &Tally = match table {
        Table::Clients => &model.clients,
        _ => &model.paths,
    };
    let ranked = tally.ranked(place.controls.order);
    let mut title = vec![(Ink::Plain, place.controls.order.words().to_owned())];
    if model.missed > 0 {
        let missed = format!("{} records missed", grouped(model.missed));
        title.push((Ink::Yellow, missed));
    }
    let width = usize::from(place.area.width);
    // What there is no room for goes, the least important first.
    let columns = if width >= ROOMY { 5 } else { 3 };
    rule(table, name, &title, &headings(columns), place, buffer);
    let rows = |from: usize, fit: usize, look: Look| -> Vec<Line<'static>> {
        let shown = ranked.iter().skip(from).take(fit);
        shown
            .map(|one| ranked_row(one, look, width, columns))
            .collect()
    };
    fill(table, ranked.len(), place, buffer, rows);
}

/// The names of so many of the columns.
fn headings(columns: usize) -> String {
    let names = COLUMNS.iter().take(columns);
    let names = names.map(|(name, width)| format!("{name:>width$}"));
    names.chain([" ".to_owned()]).collect()
}

fn ranked_row(one: &Ranked<'_>, look: Look, width: usize, columns: usize) -> Line<'static> {
    let row = one.row;
    let took = |share| row.took.quantile(share).map_or_else(String::new, duration);
    let cells = [
        (Ink::Plain, pace(one.rate)),
        (Ink::Plain, grouped(row.requests)),
        (Ink::Red, percent(row.error_share())),
        (Ink::Plain, took(0.5)),
        (Ink::Plain, took(0.95)),
    ];
    let taken: usize = COLUMNS.iter().take(columns).map(|(_, width)| width).sum();
    let room = width.saturating_sub(taken + MARGIN + 1);
    let (ink, key) = one
        .key
        .map_or((Ink::Faint, "(others)"), |key| (Ink::Plain, key));
    let mut spans = vec![
        Span::raw(" ".repeat(MARGIN)),
        Span::styled(fitted(key, room), look.style(ink)),
    ];
    for ((ink, text), (_, width)) in cells.into_iter().zip(COLUMNS).take(columns) {
        spans.push(Span::styled(format!("{text:>width$}"), look.style(ink)));
    }
    Line::from(spans)
}

fn errors(place: &mut Place<'_>, buffer: &mut Buffer) {
    let errors = &place.model.errors;
    let title = vec![(Ink::Plain, "latest first, UTC".to_owned())];
    rule(Table::Errors, "errors", &title, "", place, buffer);
    let width = usize::from(place.area.width);
    let rows = |from: usize, fit: usize, look: Look| -> Vec<Line<'static>> {
        let shown = errors.iter().skip(from).take(fit);
        shown.map(|one| error_row(one, look, width)).collect()
    };
    fill(Table::Errors, errors.iter().len(), place, buffer, rows);
}

/// `12:34:56  502  upstream_refused  GET  /cart  ×3`
fn error_row(one: &Repeated, look: Look, width: usize) -> Line<'static> {
    let record = &one.record;
    let status = record
        .status
        .map_or_else(|| "-".to_owned(), |status| status.to_string());
    let reason = match (&*record.reason, record.status) {
        ("", Some(_)) => "(application)",
        (reason, _) => reason,
    };
    let times = if one.times > 1 {
        format!(" ×{}", grouped(one.times))
    } else {
        String::new()
    };
    let ink = if record.status.is_some_and(|status| status < 500) {
        Ink::Yellow
    } else {
        Ink::Red
    };
    let client = if width >= WIDE_ERRORS { 24 } else { 0 };
    let taken = MARGIN + 10 + 5 + REASON + 8 + client + times.chars().count() + 1;
    let mut spans = vec![
        Span::raw(" ".repeat(MARGIN)),
        Span::styled(fitted(clock_of(&record.time), 10), look.style(Ink::Faint)),
        Span::styled(fitted(&status, 5), look.style(ink)),
        Span::raw(fitted(reason, REASON)),
        Span::styled(
            fitted(record.method.as_deref().unwrap_or("TLS"), 7) + " ",
            look.style(Ink::Faint),
        ),
    ];
    if client > 0 {
        let shown = fitted(&record.client, client - 2) + "  ";
        spans.push(Span::styled(shown, look.style(Ink::Faint)));
    }
    spans.push(Span::raw(fitted(&record.path, width.saturating_sub(taken))));
    spans.push(Span::styled(times, look.style(Ink::Yellow)));
    Line::from(spans)
}

/// `── ▸ paths · most requests ─────────── req/s  requests ──`
fn rule(
    table: Table,
    name: &str,
    title: &[(Ink, String)],
    headings: &str,
    place: &Place<'_>,
    buffer: &mut Buffer,
) {
    let (area, look) = (place.area, place.look);
    let faint = look.style(Ink::Faint);
    // Which one is in hand is seen without colours, too.
    let (mark, ink) = if place.controls.focus == table {
        ("▸ ", Ink::Cyan)
    } else {
        ("", Ink::Plain)
    };
    let bold = look.style(ink).patch(look.style(Ink::Bold));
    let name = Span::styled(format!("{mark}{name}"), bold);
    let mut spans = vec![Span::styled("── ", faint), name];
    for (ink, words) in title {
        spans.push(Span::styled(" · ", faint));
        spans.push(Span::styled(words.clone(), look.style(*ink)));
    }
    let taken: usize = spans.iter().map(Span::width).sum();
    let room = usize::from(area.width).saturating_sub(taken + 1 + headings.chars().count());
    spans.push(Span::styled(
        format!(" {}{headings}", "─".repeat(room)),
        faint,
    ));
    put(buffer, area, &Line::from(spans));
}

/// The rows below the rule, or what there is to say where there are none.
fn fill(
    table: Table,
    all: usize,
    place: &mut Place<'_>,
    buffer: &mut Buffer,
    rows: impl FnOnce(usize, usize, Look) -> Vec<Line<'static>>,
) {
    let area = place.area;
    let fit = usize::from(area.height.saturating_sub(1));
    place.controls.stop_at(table, all, fit);
    let from = place.controls.scrolled(table);
    let mut lines = rows(from, fit, place.look);
    if all == 0 {
        let words = match table {
            Table::Errors => "  none so far".to_owned(),
            _ => format!("  none since {} UTC", clock(place.model.since)),
        };
        lines.push(Line::styled(words, place.look.style(Ink::Faint)));
    }
    for (y, line) in (area.y.saturating_add(1)..area.bottom()).zip(&lines) {
        put(
            buffer,
            Rect {
                y,
                height: 1,
                ..area
            },
            line,
        );
    }
}

/// Names and widths, from the left.
const COLUMNS: [(&str, usize); 5] = [
    ("req/s", 9),
    ("requests", 11),
    ("errors", 8),
    ("p50", 10),
    ("p95", 10),
];
/// Before each row.
const MARGIN: usize = 2;
/// Columns of a table that has room for all of its own.
const ROOMY: usize = 72;
/// Columns from which errors say whose they are.
const WIDE_ERRORS: usize = 110;
/// The longest word for why something failed has its place in it.
const REASON: usize = 26;
