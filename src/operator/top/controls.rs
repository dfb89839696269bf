//! What the keys do: which table is in hand, how it is sorted, how far it is scrolled, whether the screen stands still.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::tally::Order;

/// What whoever looks has chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct Controls {
    pub(super) focus: Table,
    pub(super) order: Order,
    pub(super) is_paused: bool,
    pub(super) is_helping: bool,
    /// Of the tables that share a place, the one that was in hand last.
    is_upper_clients: bool,
    scrolled: [usize; 3],
}

/// A table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Table {
    #[default]
    Paths,
    Clients,
    Errors,
}

/// What a key asks for that the controls cannot do by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To be shown what has changed.
    Redraw,
    /// The same on a screen that was spoilt.
    Repaint,
    /// The screen stands still, or no longer.
    Pause,
    Reset,
    Quit,
    Nothing,
}

impl Controls {
    /// How many rows of a table are above what is shown of it.
    pub(super) fn scrolled(&self, table: Table) -> usize {
        self.scrolled[table as usize]
    }

    /// Of the tables that share a place where there is little, the one to show.
    pub(super) fn upper(&self) -> Table {
        if self.is_upper_clients {
            Table::Clients
        } else {
            Table::Paths
        }
    }

    fn turn_to(&mut self, table: Table) {
        self.focus = table;
        match table {
            Table::Paths => self.is_upper_clients = false,
            Table::Clients => self.is_upper_clients = true,
            Table::Errors => {}
        }
    }

    /// A key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c' | 'd') => Wish::Quit,
                KeyCode::Char('l') => Wish::Repaint,
                _ => Wish::Nothing,
            };
        }
        match key.code {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Char('p' | ' ') => {
                self.is_paused = !self.is_paused;
                return Wish::Pause;
            }
            KeyCode::Char('r') => {
                self.scrolled = [0; 3];
                return Wish::Reset;
            }
            KeyCode::Char('?' | 'h') => self.is_helping = !self.is_helping,
            // Whatever is done next, the help is in the way.
            KeyCode::Esc => self.is_helping = false,
            KeyCode::Char('s') => self.order = self.order.next(),
            code => return self.moved(code),
        }
        Wish::Redraw
    }

    fn moved(&mut self, code: KeyCode) -> Wish {
        let scrolled = &mut self.scrolled[self.focus as usize];
        match code {
            KeyCode::Tab => self.turn_to(self.focus.next()),
            KeyCode::BackTab => self.turn_to(self.focus.next().next()),
            KeyCode::Up | KeyCode::Char('k') => *scrolled = scrolled.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => *scrolled += 1,
            KeyCode::PageUp => *scrolled = scrolled.saturating_sub(PAGE),
            KeyCode::PageDown => *scrolled += PAGE,
            KeyCode::Home => *scrolled = 0,
            KeyCode::End => *scrolled = FAR,
            _ => return Wish::Nothing,
        }
        Wish::Redraw
    }

    /// There is nothing behind the last row: a table of so many, of which so many fit, is scrolled no further.
    pub(super) fn stop_at(&mut self, table: Table, rows: usize, fit: usize) {
        let scrolled = &mut self.scrolled[table as usize];
        *scrolled = (*scrolled).min(rows.saturating_sub(fit));
    }
}

impl Table {
    fn next(self) -> Self {
        match self {
            Self::Paths => Self::Clients,
            Self::Clients => Self::Errors,
            Self::Errors => Self::Paths,
        }
    }
}

const PAGE: usize = 10;
/// Behind every table.
const FAR: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn press(controls: &mut Controls, code: KeyCode) -> Wish {
        controls.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn every_key_of_the_help_does_what_it_says() {
        let mut controls = Controls::default();
        let mut letter = |letter| press(&mut controls, KeyCode::Char(letter));
        assert_eq!(letter('q'), Wish::Quit);
        assert_eq!(letter('p'), Wish::Pause);
        assert_eq!(letter('r'), Wish::Reset);
        assert_eq!(letter('s'), Wish::Redraw);
        assert_eq!(letter('?'), Wish::Redraw);
        assert_eq!(letter('x'), Wish::Nothing);
        assert!(controls.is_paused && controls.is_helping);
        assert_eq!(controls.order, Order::Errors);
        press(&mut controls, KeyCode::Esc);
        assert!(!controls.is_helping);
        let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
        assert_eq!(controls.press(control('c')), Wish::Quit);
        assert_eq!(controls.press(control('l')), Wish::Repaint);
        assert_eq!(controls.press(control('s')), Wish::Nothing);
    }

    #[test]
    fn tab_goes_round_the_tables_and_each_is_scrolled_by_itself() {
        let mut controls = Controls::default();
        press(&mut controls, KeyCode::Down);
        press(&mut controls, KeyCode::Tab);
        assert_eq!(
            (controls.focus, controls.upper()),
            (Table::Clients, Table::Clients)
        );
        press(&mut controls, KeyCode::BackTab);
        assert_eq!(controls.upper(), Table::Paths);
        assert_eq!(controls.focus, Table::Paths);
        press(&mut controls, KeyCode::BackTab);
        press(&mut controls, KeyCode::PageDown);
        press(&mut controls, KeyCode::Up);
        assert_eq!(controls.focus, Table::Errors);
        let all = [Table::Paths, Table::Clients, Table::Errors];
        assert_eq!(all.map(|table| controls.scrolled(table)), [1, 0, 9]);
    }

    #[test]
    fn no_table_is_scrolled_past_its_end() {
        let mut controls = Controls::default();
        press(&mut controls, KeyCode::End);
        controls.stop_at(Table::Paths, 30, 10);
        assert_eq!(controls.scrolled(Table::Paths), 20);
        controls.stop_at(Table::Paths, 3, 10);
        assert_eq!(controls.scrolled(Table::Paths), 0);
    }
}
