//! The terminal: how large it is, and a screen of our own that is given back however we end.

use std::io::{self, IsTerminal, Write};

use rustix::termios::tcgetwinsize;

use crate::config;

/// What a terminal that does not say is taken for.
const USUAL: Size = Size { columns: 80, rows: 24 };
/// Another screen in place of the one with the shell's lines, without a cursor, and where what is too long ends at the edge.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// In characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Of the terminal that stdout is; `None` when it is none.
pub(super) fn size() -> Option<Size> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let told = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    Some(told.map_or(USUAL, |size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() }))
}

/// How wide a table may be; `None` for any width.
pub(super) fn width() -> Option<usize> {
    size().map(|size| size.columns)
}

/// The screen, for as long as this lives.
pub(super) struct Screen {
    entered: bool,
}

impl Screen {
    /// Takes the terminal over; `None` where stdout is none, or one that cannot do it.
    pub(super) fn enter() -> io::Result<Option<Self>> {
        if size().is_none() || config::command::dumb_terminal() {
            return Ok(None);
        }
        let mut this = Self { entered: false };
        this.resume()?;
        Ok(Some(this))
    }

    /// Shows these lines and nothing else, as far as there is room.
    #[expect(clippy::unused_self, reason = "who has no screen shows nothing on it")]
    pub(super) fn show(&self, lines: &[String]) -> io::Result<()> {
        let rows = size().unwrap_or(USUAL).rows;
        let mut text = String::from("\x1b[H");
        for (nth, line) in lines.iter().take(rows).enumerate() {
            // A line break behind the last line would move the picture.
            text.push_str(if nth > 0 { "\n" } else { "" });
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        write(&text)
    }

    /// Gives the terminal back for now.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.entered) { write(LEAVE) } else { Ok(()) }
    }

    /// Takes it over again.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        // First the mark: half of the sequence may be out when it fails.
        self.entered = true;
        write(ENTER)
    }
}

/// Also after a panic.
impl Drop for Screen {
    fn drop(&mut self) {
        // Who closed the terminal needs nothing back.
        let _ = self.leave();
    }
}

/// At once, so that no half of it is seen.
fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
