//! What a key means, by what the view is about.

use ratatui::crossterm::event::KeyCode;

use super::model::{Mode, Model};

/// A reason that the registry takes.
const MOST_LETTERS: usize = 200;

/// What is to be done for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Only the page has changed.
    Nothing,
    /// Something else is looked at.
    Look,
    Cut {
        client: String,
        reason: String,
    },
    End,
}

impl Model {
    /// Takes in a key.
    pub fn press(&mut self, key: KeyCode) -> Wish {
        self.message = None;
        match std::mem::replace(&mut self.mode, Mode::Clients) {
            Mode::Clients => self.press_in_list(key),
            Mode::Filter => {
                match key {
                    KeyCode::Enter => return Wish::Nothing,
                    KeyCode::Esc => {
                        self.filter.clear();
                        return Wish::Nothing;
                    }
                    key => edit(&mut self.filter, key),
                }
                self.mode = Mode::Filter;
                Wish::Nothing
            }
            Mode::Client(client) => match key {
                KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Char('q') => Wish::Look,
                KeyCode::Char('c') => {
                    let back = Box::new(Mode::Client(client.clone()));
                    self.mode = Mode::Reason { client, reason: String::new(), back };
                    Wish::Nothing
                }
                _ => {
                    self.mode = Mode::Client(client);
                    Wish::Nothing
                }
            },
            Mode::Reason { client, mut reason, back } => match key {
                KeyCode::Esc => {
                    self.mode = *back;
                    Wish::Nothing
                }
                KeyCode::Enter if !reason.trim().is_empty() => {
                    self.mode = *back;
                    Wish::Cut { client, reason: reason.trim().to_owned() }
                }
                key => {
                    edit(&mut reason, key);
                    self.mode = Mode::Reason { client, reason, back };
                    Wish::Nothing
                }
            },
        }
    }

    fn press_in_list(&mut self, key: KeyCode) -> Wish {
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Wish::End,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Up | KeyCode::Char('k') => self.select(-1),
            KeyCode::Down | KeyCode::Char('j') => self.select(1),
            KeyCode::Enter | KeyCode::Right => {
                if let Some(client) = self.chosen() {
                    self.mode = Mode::Client(client);
                    return Wish::Look;
                }
            }
            KeyCode::Char('c') => {
                if let Some(client) = self.chosen() {
                    let back = Box::new(Mode::Clients);
                    self.mode = Mode::Reason { client, reason: String::new(), back };
                }
            }
            _ => {}
        }
        Wish::Nothing
    }

    fn select(&mut self, by: isize) {
        let rows = self.rows();
        let at = self.selection(&rows).saturating_add_signed(by).min(rows.len().saturating_sub(1));
        self.selected = rows.get(at).map(|row| row.session.client.clone());
    }

    fn chosen(&self) -> Option<String> {
        let rows = self.rows();
        rows.get(self.selection(&rows)).map(|row| row.session.client.clone())
    }
}

fn edit(text: &mut String, key: KeyCode) {
    match key {
        KeyCode::Backspace => drop(text.pop()),
        KeyCode::Char(letter) if text.len() + letter.len_utf8() <= MOST_LETTERS => text.push(letter),
        _ => {}
    }
}
