//! Tests: the screens of a sidecar of known numbers.

use std::time::Instant;

use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use ratatui::{Frame, Terminal};
use serde_json::json;

use super::controls::Controls;
use super::known::{exchange, look, now, records, shop, status};
use super::model::{Model, News};
use super::once;
use super::text::Look;
use super::view::{self, Occasion};

fn drawn(model: &Model, controls: &mut Controls, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let occasion = Occasion {
        look: Look { colour: true },
        now: now(),
        has_keys: true,
    };
    let draw = |frame: &mut Frame<'_>| {
        view::draw(frame.area(), frame.buffer_mut(), model, controls, &occasion);
    };
    terminal.draw(draw).unwrap();
    terminal
}

fn text(model: &Model, controls: &mut Controls, width: u16, height: u16) -> String {
    let terminal = drawn(model, controls, width, height);
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(width));
    let rows = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    let rows: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
    rows.join("\n") + "\n"
}

fn press(controls: &mut Controls, letters: &str) {
    for letter in letters.chars() {
        let code = match letter {
            '\t' => KeyCode::Tab,
            letter => KeyCode::Char(letter),
        };
        controls.press(KeyEvent::new(code, KeyModifiers::NONE));
    }
}

const SMALL: &str = "\
portcullis 0.1.0, shop: ready, up 3days 4h  → http://127.0.0.1:8080
requests     100/s                                                    ██████████
answers      2xx 97/s  3xx 0/s  4xx 1.0/s  5xx 2.0/s  none 0/s
failed       2.0/s: upstream_refused 2.0/s
latency      p50 1.00 ms   p90 5.00 ms   p99 5.00 ms
application  p50 0.50 ms   p90 0.90 ms   p99 0.99 ms
traffic      1.0 KiB/s in, 1.0 MiB/s out, 2 in flight
connections  3 active, 40 idle, 1 in handshake; application: 2 active, 4 idle
handshakes   5.0/s, 80 % resumed, 1.0/s failed
certificate  DNS:shop.example: 89 days left
── ▸ paths · most requests ────    req/s   requests  errors       p50       p95
  /                                  1.8         18           1.00 ms   1.00 ms
  /cart                              0.2          2   100 %   3.00 ms   3.00 ms
  /pay                               0.1          1   100 %   80.0 ms   80.0 ms




── errors · latest first, UTC ──────────────────────────────────────────────────
  10:00:28  -    no_common_version         TLS     it speaks TLS 1.0
  10:00:29  500  (application)             GET     /pay
  10:00:29  502  upstream_refused          GET     /cart                     ×2

 q quit  p pause  s sort  Tab table  ↑↓ scroll  r reset  ? help     10:00:30 UTC
";

#[test]
fn all_that_matters_stands_on_the_smallest_screen() {
    assert_eq!(text(&shop(), &mut Controls::default(), 80, 24), SMALL);
}

#[test]
fn a_larger_screen_shows_more() {
    let (model, mut controls) = (shop(), Controls::default());
    let wide = text(&model, &mut controls, 200, 50);
    for words in ["paths ·", "clients ·", "192.0.2.7", "at most 100"] {
        assert!(wide.contains(words), "{words}: {wide}");
    }
    assert!(
        wide.lines()
            .any(|line| line.contains("paths ·") && line.contains("clients ·"))
    );
    let tall = text(&model, &mut controls, 80, 60);
    for words in ["paths ·", "clients ·", "errors ·", "at most 100"] {
        assert!(tall.contains(words), "{words}: {tall}");
    }
}

#[test]
fn no_screen_is_too_small_or_too_large_to_draw_on() {
    let model = shop();
    for width in [1, 5, 13, 40, 72, 82, 111, 132, 300] {
        for height in [1, 2, 10, 12, 24, 34, 45, 90] {
            let mut controls = Controls::default();
            drawn(&model, &mut controls, width, height);
            press(&mut controls, "?\t");
            drawn(&model, &mut controls, width, height);
            drawn(&Model::new(now()), &mut Controls::default(), width, height);
        }
    }
}

#[test]
fn keys_change_the_order_and_the_table_and_show_the_help() {
    let (model, mut controls) = (shop(), Controls::default());
    let first = |screen: &str| {
        let row = screen
            .lines()
            .skip_while(|line| !line.contains(" · "))
            .nth(1);
        row.unwrap().split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(first(&text(&model, &mut controls, 80, 24)), "/");
    press(&mut controls, "s");
    let errors = text(&model, &mut controls, 80, 24);
    assert!(errors.contains("paths · most errors"), "{errors}");
    assert_eq!(first(&errors), "/cart");
    press(&mut controls, "s");
    assert_eq!(first(&text(&model, &mut controls, 80, 24)), "/pay");
    press(&mut controls, "\t");
    let clients = text(&model, &mut controls, 80, 24);
    assert!(clients.contains("▸ clients"), "{clients}");
    assert_eq!(first(&clients), "192.0.2.7");
    press(&mut controls, "\tj");
    let scrolled = text(&model, &mut controls, 80, 24);
    assert!(scrolled.contains("▸ errors"), "{scrolled}");
    press(&mut controls, "?");
    let help = text(&model, &mut controls, 80, 24);
    assert!(help.contains("╭ help") && help.contains("Ctrl-C"), "{help}");
    press(&mut controls, "?p");
    let paused = text(&model, &mut controls, 80, 24);
    assert!(
        paused.contains("PAUSED") && !paused.contains("╭"),
        "{paused}"
    );
}

#[test]
fn a_table_that_fits_is_not_scrolled() {
    let (model, mut controls) = (shop(), Controls::default());
    press(&mut controls, "jjjj");
    assert_eq!(text(&model, &mut controls, 80, 24), SMALL);
}

#[test]
fn a_sidecar_that_is_gone_is_not_shown_as_if_it_were_there() {
    let mut model = shop();
    model.take(
        News::Lost("no admin plane at 127.0.0.1:1".to_owned()),
        now(),
    );
    let screen = text(&model, &mut Controls::default(), 80, 24);
    for words in [
        "portcullis 0.1.0, shop: not reachable since 10:00:30",
        "trying again no admin plane at 127.0.0.1:1",
        "connections  0 active, 0 idle, 0 in handshake",
    ] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    assert!(!screen.contains("ready, up"), "{screen}");
}

#[test]
fn what_needs_to_be_looked_at_stands_above_the_rest() {
    let mut status = status();
    status["phase"] = json!("draining");
    status["ready"] = json!(false);
    status["pending"] = json!(["draining"]);
    status["drain"] = json!({"step": "finishing", "seconds_left": 12});
    status["certificate"]["parts"][0]["not_after"] = json!("2026-11-22T00:00:00Z");
    let (mut model, began) = (Model::new(now()), Instant::now());
    model.take(look(began, 0, 10, status), now());
    model.take(News::Stream(Some("too many followers".to_owned())), now());
    model.take(
        records(&[r#"{"kind":"missed","missed":1234}"#.to_owned()]),
        now(),
    );
    let screen = text(&model, &mut Controls::default(), 80, 34);
    for words in [
        "draining, not ready",
        "pending      draining",
        "drain        finishing, 12 s left",
        "no records   too many followers",
        "expired 1 day ago",
        "1,234 records missed",
    ] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
}

#[test]
fn what_clients_say_moves_nothing() {
    let mut model = shop();
    let hostile = "/\u{1b}[2J\u{1b}]0;x\u{7}\r\n\t\u{202e}\u{200d}中👩e\u{301}\u{9b}31m";
    let long = "/".to_owned() + &"x".repeat(5000);
    let mut lines: Vec<String> = Vec::new();
    for path in [hostile, &long] {
        lines.push(exchange(path, 502, "upstream_refused", 1));
        lines.extend((0..50).map(|_| exchange(path, 200, "", 1)));
    }
    model.take(records(&lines), now());
    let screen = text(&model, &mut Controls::default(), 120, 24);
    for line in screen.lines() {
        assert!(line.chars().count() <= 120, "{line}");
        assert!(
            line.chars()
                .all(|letter| !crate::terminal::is_unsafe(letter)),
            "{line:?}"
        );
    }
    assert!(
        screen.contains("/\\x1b[2J\\x1b]0;x\\x07\\x0d\\x0a\\x09"),
        "{screen}"
    );
    assert!(!screen.contains('中') && screen.contains('…'), "{screen}");
    // What stands beside it stands where it stood.
    let mut rows = screen.lines().filter(|line| line.contains("/\\x1b"));
    assert!(rows.next().unwrap().ends_with(" ms"), "{screen}");
}

#[test]
fn no_background_is_painted_and_without_colours_there_are_none() {
    let model = shop();
    let terminal = drawn(&model, &mut Controls::default(), 120, 40);
    let cells = terminal.backend().buffer().content();
    assert!(cells.iter().all(|cell| cell.bg == Color::Reset));
    assert!(cells.iter().any(|cell| cell.fg == Color::Red));
    let mark = cells.iter().find(|cell| cell.symbol() == "▸").unwrap();
    assert_eq!((mark.fg, mark.modifier), (Color::Cyan, Modifier::BOLD));
    let area = Rect::new(0, 0, 120, 40);
    let mut buffer = Buffer::empty(area);
    let occasion = Occasion {
        look: Look { colour: false },
        now: now(),
        has_keys: true,
    };
    view::draw(
        area,
        &mut buffer,
        &model,
        &mut Controls::default(),
        &occasion,
    );
    assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset));
}

#[test]
fn one_screen_as_text_has_no_keys_and_no_empty_lines() {
    let text = once::draw(&shop(), 100, now());
    assert!(text.starts_with("portcullis 0.1.0, shop: ready"), "{text}");
    assert!(text.contains("\n  /cart "), "{text}");
    assert!(
        text.contains("clients ·") && !text.contains("quit"),
        "{text}"
    );
    assert!(text.lines().all(|line| !line.is_empty()), "{text}");
}
