//! What is printed: Markdown tables, a row as soon as it is known.

use std::io::{self, Write};

/// The table of all figures, and some of their own between.
pub(crate) struct Table {
    out: io::Stdout,
    /// Whether its head stands above the next row.
    begun: bool,
}

/// One figure.
pub(crate) struct Row<'a> {
    pub(crate) figure: &'a str,
    pub(crate) measured: String,
    pub(crate) budget: &'a str,
    pub(crate) how: &'a str,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { out: io::stdout(), begun: false }
    }

    /// Prints a row, and the head where it is the first.
    pub(crate) fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        if !self.begun {
            self.line(&["figure", "measured", "budget", "how"])?;
            self.rule(4)?;
            self.begun = true;
        }
        let Row { figure, measured, budget, how } = row;
        self.line(&[figure, measured, budget, how])
    }

    /// Begins a table of a figure's own, under a sentence about it. Its rows are [`Self::line`]s.
    pub(crate) fn begin(&mut self, sentence: &str, columns: &[&str]) -> io::Result<()> {
        writeln!(self.out, "\n{sentence}\n")?;
        self.begun = false;
        self.line(columns)?;
        self.rule(columns.len())
    }

    /// Ends it.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    pub(crate) fn line(&mut self, cells: &[&str]) -> io::Result<()> {
        writeln!(self.out, "| {} |", cells.join(" | "))
    }

    fn rule(&mut self, columns: usize) -> io::Result<()> {
        writeln!(self.out, "|{}", "---|".repeat(columns))
    }
}
