//! The alternate screen, as `top` and pagers use it: what was on the terminal before is there again afterwards.
//!
//! It is left when [`Terminal`] is dropped, which happens on every way out, and before a panic writes its message.

use std::io;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

/// Lines of a page up or down.
const PAGE: isize = 8;

/// What the person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    End,
    /// The list of servers that many lines down.
    Scroll(isize),
    Redraw,
}

#[derive(Debug)]
pub struct Terminal {
    inner: DefaultTerminal,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Terminal {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When it refuses.
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

    /// The next wish. Waits for ever where nobody can type any more.
    pub async fn input(&mut self) -> Input {
        loop {
            match self.events.recv().await {
                Some(event) => {
                    if let Some(input) = input_of(&event) {
                        return input;
                    }
                }
                None => std::future::pending().await,
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
        Event::Resize(..) => return Some(Input::Scroll(0)),
        _ => return None,
    };
    let KeyEvent { code, modifiers, .. } = key;
    let control = modifiers.contains(KeyModifiers::CONTROL);
    Some(match code {
        KeyCode::Char('c') if control => Input::End,
        KeyCode::Char('l') if control => Input::Redraw,
        KeyCode::Char('q' | 'Q') if !control => Input::End,
        KeyCode::Up | KeyCode::Char('k') => Input::Scroll(-1),
        KeyCode::Down | KeyCode::Char('j') => Input::Scroll(1),
        KeyCode::PageUp => Input::Scroll(-PAGE),
        KeyCode::PageDown | KeyCode::Char(' ') => Input::Scroll(PAGE),
        KeyCode::Home => Input::Scroll(isize::MIN),
        KeyCode::End => Input::Scroll(isize::MAX),
        _ => return None,
    })
}

/// Whether we may use the terminal: the system stops a program in the background that tries.
#[cfg(unix)]
pub fn is_ours() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb" || name.is_empty());
    let foreground = rustix::termios::tcgetpgrp(io::stdout());
    !dumb && foreground.is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(windows)]
pub fn is_ours() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn keys_mean_what_they_mean_in_other_programs() {
        let (none, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        for (code, modifiers, wish) in [
            (KeyCode::Char('c'), control, Some(Input::End)),
            (KeyCode::Char('q'), none, Some(Input::End)),
            (KeyCode::Char('c'), none, None),
            (KeyCode::Char('q'), control, None),
            (KeyCode::Char('l'), control, Some(Input::Redraw)),
            (KeyCode::Down, none, Some(Input::Scroll(1))),
            (KeyCode::Esc, none, None),
        ] {
            assert_eq!(input_of(&key(code, modifiers)), wish, "{code:?} {modifiers:?}");
        }
        let mut released = KeyEvent::new(KeyCode::Char('q'), none);
        released.kind = KeyEventKind::Release;
        assert_eq!(input_of(&Event::Key(released)), None, "Windows tells of both");
    }
}
