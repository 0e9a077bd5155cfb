//! The alternate screen: what was on the terminal before is there again afterwards, on every way out.

use std::io::{self, IsTerminal};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Key(KeyCode),
    Redraw,
    /// The person or the terminal.
    Gone,
}

#[derive(Debug)]
pub struct Terminal {
    inner: DefaultTerminal,
    events: mpsc::UnboundedReceiver<Event>,
}

/// Whether there is a terminal that can show a page.
pub fn is_usable() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb" || name.is_empty());
    !dumb && io::stdout().is_terminal() && io::stdin().is_terminal()
}

impl Terminal {
    pub fn open() -> io::Result<Self> {
        let inner = ratatui::try_init().inspect_err(|_| {
            let _ = ratatui::try_restore();
        })?;
        let (tell, events) = mpsc::unbounded_channel();
        // Reading blocks, and cannot be broken off: the thread ends with the process.
        std::thread::spawn(move || {
            while let Ok(event) = event::read() {
                if tell.send(event).is_err() {
                    break;
                }
            }
        });
        Ok(Self { inner, events })
    }

    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.inner.draw(draw).map(drop)
    }

    pub fn clear(&mut self) -> io::Result<()> {
        self.inner.clear()
    }

    pub async fn input(&mut self) -> Input {
        loop {
            let Some(event) = self.events.recv().await else { return Input::Gone };
            if let Some(input) = input_of(&event) {
                return input;
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The terminal may be gone, and then there is nothing to give back.
        let _ = self.inner.show_cursor();
        let _ = ratatui::try_restore();
    }
}

fn input_of(event: &Event) -> Option<Input> {
    let key = match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        Event::Resize(..) => return Some(Input::Redraw),
        _ => return None,
    };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => Some(Input::Gone),
        KeyCode::Char('l') if control => Some(Input::Redraw),
        KeyCode::Char(_) if control => None,
        code => Some(Input::Key(code)),
    }
}
