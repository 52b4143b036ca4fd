//! Tables for people: aligned, coloured where that helps, and never wider than what they are shown on.

use std::io::{self, IsTerminal};

use super::output::printable;
use crate::config;

/// Between two columns.
const GAP: &str = "  ";

/// Whether texts are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    colours: bool,
}

/// How a text is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it is.
    Plain,
    /// A heading.
    Bold,
    /// Of little weight.
    Dim,
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
    /// Wrong.
    Bad,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    title: &'static str,
    right: bool,
    /// Columns with the highest number go first when there is no room; those with 0 never.
    expendable: u8,
}

/// A table that is being made.
#[derive(Debug)]
pub(super) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A table as lines.
#[derive(Debug)]
pub(super) struct Lines {
    /// The heading first.
    pub(super) lines: Vec<String>,
    /// The columns for which there was no room.
    pub(super) left_out: Vec<&'static str>,
}

impl Style {
    /// Colours on a terminal, unless `NO_COLOR` is set.
    pub(super) fn of_stdout() -> Self {
        let colours =
            io::stdout().is_terminal() && !config::command::no_color() && !config::command::dumb_terminal();
        Self { colours }
    }

    /// Without colours.
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self { colours: false };

    /// A text in its tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => "",
            Tone::Bold => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
        };
        if self.colours && !code.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Cell {
    /// A text in a tone.
    pub(super) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: printable(text.as_ref()), tone }
    }

    /// A figure; nothing is dim.
    pub(super) fn figure(text: impl AsRef<str>) -> Self {
        let nothing = matches!(text.as_ref(), "0" | "–" | "0 B");
        Self::new(text, if nothing { Tone::Dim } else { Tone::Plain })
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl Column {
    /// Of words.
    pub(super) const fn left(title: &'static str) -> Self {
        Self { title, right: false, expendable: 0 }
    }

    /// Of figures.
    pub(super) const fn right(title: &'static str) -> Self {
        Self { title, right: true, expendable: 0 }
    }

    /// The higher, the sooner it makes room.
    pub(super) const fn expendable(mut self, expendable: u8) -> Self {
        self.expendable = expendable;
        self
    }
}

impl Grid {
    /// A table of these columns.
    pub(super) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push(cells.into());
    }

    /// Takes columns out in which every row has nothing but zero.
    pub(super) fn without_empty(mut self, titles: &[&str]) -> Self {
        let empty = |column: usize, title: &str| {
            titles.contains(&title)
                && self.rows.iter().all(|row| row.get(column).is_none_or(|cell| cell.text == "0"))
        };
        let gone: Vec<bool> =
            self.columns.iter().enumerate().map(|(nth, column)| empty(nth, column.title)).collect();
        self.retain(|nth| !gone.get(nth).copied().unwrap_or(false));
        self
    }

    /// The lines, within `width` characters if columns that may go make that possible.
    pub(super) fn lines(mut self, style: Style, width: Option<usize>) -> Lines {
        let all: Vec<&str> = self.columns.iter().map(|column| column.title).collect();
        let mut left_out = Vec::new();
        while width.is_some_and(|width| self.width() > width) {
            let most = self.columns.iter().enumerate().max_by_key(|(nth, column)| (column.expendable, *nth));
            let Some((nth, column)) = most.filter(|(_, column)| column.expendable > 0) else { break };
            left_out.push(column.title);
            self.retain(|other| other != nth);
        }
        left_out.sort_unstable_by_key(|title| all.iter().position(|one| one == title));
        let widths = self.widths();
        let heading = self.columns.iter().map(|column| Cell::new(column.title, Tone::Bold)).collect();
        let rows = std::iter::once(&heading).chain(&self.rows);
        Lines { lines: rows.map(|row: &Vec<Cell>| self.line(row, &widths, style)).collect(), left_out }
    }

    fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut nth = 0..;
        self.columns.retain(|_| nth.next().is_none_or(&keep));
        for row in &mut self.rows {
            let mut nth = 0..;
            row.retain(|_| nth.next().is_none_or(&keep));
        }
    }

    fn widths(&self) -> Vec<usize> {
        let cells = |nth: usize| self.rows.iter().filter_map(move |row| row.get(nth)).map(Cell::width);
        let width =
            |(nth, column): (usize, &Column)| cells(nth).max().unwrap_or(0).max(column.title.chars().count());
        self.columns.iter().enumerate().map(width).collect()
    }

    fn width(&self) -> usize {
        self.widths().iter().sum::<usize>() + GAP.len() * self.columns.len().saturating_sub(1)
    }

    fn line(&self, row: &[Cell], widths: &[usize], style: Style) -> String {
        let last = row.len().saturating_sub(1);
        let mut line = String::new();
        for (nth, ((cell, column), width)) in row.iter().zip(&self.columns).zip(widths).enumerate() {
            let room = " ".repeat(width.saturating_sub(cell.width()));
            let text = style.paint(cell.tone, &cell.text);
            if nth > 0 {
                line.push_str(GAP);
            }
            match (column.right, nth == last) {
                (true, _) => line.extend([room, text]),
                (false, true) => line.push_str(&text),
                (false, false) => line.extend([text, room]),
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new([
            Column::left("NAME"),
            Column::right("HITS").expendable(2),
            Column::right("STALE"),
            Column::left("LAST").expendable(1),
        ]);
        for (name, hits) in [("a", "1,000"), ("longer", "0")] {
            grid.row([Cell::figure(name), Cell::figure(hits), Cell::figure("0"), Cell::figure("x\x1b[2J")]);
        }
        grid
    }

    #[test]
    fn columns_are_aligned_and_make_room_in_their_order() {
        let wide = grid().lines(Style::PLAIN, None);
        assert_eq!(
            wide.lines,
            [
                "NAME     HITS  STALE  LAST",
                "a       1,000      0  x\u{fffd}[2J",
                "longer      0      0  x\u{fffd}[2J"
            ]
        );
        let narrow = grid().lines(Style::PLAIN, Some(20));
        assert_eq!(
            (narrow.lines[1].as_str(), narrow.left_out),
            ("a           0  x\u{fffd}[2J", vec!["HITS"])
        );
        let hopeless = grid().lines(Style::PLAIN, Some(3));
        assert_eq!((hopeless.lines[0].as_str(), hopeless.left_out), ("NAME    STALE", vec!["HITS", "LAST"]));
        let full = grid().without_empty(&["HITS", "STALE"]).lines(Style::PLAIN, None);
        assert_eq!(full.lines[0], "NAME     HITS  LAST", "a column with a figure stays");
    }

    #[test]
    fn colours_take_no_room() {
        let coloured = grid().lines(Style { colours: true }, None);
        assert_eq!(
            coloured.lines[0],
            "\x1b[1mNAME\x1b[0m     \x1b[1mHITS\x1b[0m  \x1b[1mSTALE\x1b[0m  \x1b[1mLAST\x1b[0m"
        );
        assert_eq!(coloured.lines[2], "longer      \x1b[2m0\x1b[0m      \x1b[2m0\x1b[0m  x\u{fffd}[2J");
    }
}
