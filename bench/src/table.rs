//! What is printed: a Markdown table, a row as soon as it is known.

use std::io::{self, Write};

/// The table.
pub(crate) struct Table(io::Stdout);

/// One figure.
pub(crate) struct Row<'a> {
    pub(crate) figure: &'a str,
    pub(crate) measured: String,
    pub(crate) budget: &'a str,
    pub(crate) how: &'a str,
}

impl Table {
    /// Prints the head.
    pub(crate) fn begin() -> io::Result<Self> {
        let mut table = Self(io::stdout());
        writeln!(table.0, "| figure | measured | budget | how |\n|---|---|---|---|")?;
        Ok(table)
    }

    /// Prints a row.
    pub(crate) fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        let Row { figure, measured, budget, how } = row;
        writeln!(self.0, "| {figure} | {measured} | {budget} | {how} |")
    }
}
