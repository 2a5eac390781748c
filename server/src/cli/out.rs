//! The one place that prints.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Write},
    process::ExitCode,
};

use serde_json::{Value, json};
use symbolon_core::time::Time;

use crate::{
    config::{ConfigError, Shown},
    ui::date_text,
};

/// Why a command failed, and with which exit code.
#[derive(Debug)]
pub struct Exit {
    code: u8,
    problems: Vec<Value>,
}

impl Exit {
    /// One problem: a stable code, what happened, what to do.
    pub fn new(exit: u8, code: &str, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        let problem = json!({ "code": code, "cause": cause.into(), "fix": fix.into() });
        Self { code: exit, problems: vec![problem] }
    }

    /// Several problems of one kind.
    pub fn several(exit: u8, code: &str, causes: impl Iterator<Item = String>, fix: &str) -> Self {
        let problem = |cause| json!({ "code": code, "cause": cause, "fix": fix });
        Self { code: exit, problems: causes.map(problem).collect() }
    }

    /// What is wrong with the configuration.
    pub fn config(errors: &[ConfigError]) -> Self {
        let problem = |error: &ConfigError| {
            json!({
                "code": error.code, "cause": error.to_string(), "fix": error.fix,
                "key": error.key, "origin": error.origin.as_ref().map(ToString::to_string),
            })
        };
        Self { code: 2, problems: errors.iter().map(problem).collect() }
    }

    /// It has ended, but somebody may not know yet.
    pub fn not_confirmed() -> Self {
        Self::new(
            5,
            "not_confirmed",
            "it has ended, but not everywhere yet",
            "ask again with --confirm and more time",
        )
    }

    /// What the server refused.
    pub fn refused(status: u16, body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let cause = [text("title"), text("detail")].into_iter().filter(|text| !text.is_empty());
        let cause = cause.collect::<Vec<_>>().join(": ");
        let exit = if status == 404 { 3 } else { 1 };
        Self::new(exit, &text("code"), cause, text("fix"))
    }
}

/// Says why a command failed.
pub(super) fn fail(failure: &Exit, as_json: bool) -> ExitCode {
    let mut text = String::new();
    if as_json {
        let _ = writeln!(text, "{}", json!({ "errors": failure.problems }));
    }
    for problem in failure.problems.iter().filter(|_| !as_json) {
        let of = |name: &str| plain(problem[name].as_str().unwrap_or_default());
        let _ = writeln!(text, "error[{}]: {}", of("code"), of("cause"));
        if !of("fix").is_empty() {
            let _ = writeln!(text, "  fix: {}", of("fix"));
        }
    }
    print(&mut std::io::stderr(), &text);
    ExitCode::from(failure.code)
}

/// Says what an operator should know.
pub(super) fn warn(warnings: &[ConfigError]) {
    for warning in warnings {
        let text = format!("warning[{}]: {warning}\n  fix: {}\n", warning.code, warning.fix);
        print(&mut std::io::stderr(), &text);
    }
}

/// How far something is: a bar that stays in its line where people look, a line for each table that is done elsewhere.
#[derive(Debug)]
pub(super) struct Bar {
    as_json: bool,
    is_terminal: bool,
}

/// How many signs a bar has.
const BAR_WIDTH: u64 = 30;

impl Bar {
    pub(super) fn new(as_json: bool) -> Self {
        Self { as_json, is_terminal: std::io::stderr().is_terminal() }
    }

    /// So many of so many rows of a table are done.
    pub(super) fn show(&mut self, step: &str, table: &str, rows: u64, of: u64) {
        let line = self.line(step, table, rows, of);
        print(&mut std::io::stderr(), &line);
    }

    fn line(&self, step: &str, table: &str, rows: u64, of: u64) -> String {
        let done = rows >= of;
        if self.as_json {
            let line = json!({ "step": step, "table": table, "rows": rows, "of": of });
            return if done { format!("{line}\n") } else { String::new() };
        }
        if !self.is_terminal {
            return if done { format!("{step} {table}: {rows}\n") } else { String::new() };
        }
        let full = (rows.min(of) * BAR_WIDTH).checked_div(of).unwrap_or(BAR_WIDTH);
        let bar: String = (0..BAR_WIDTH).map(|at| if at < full { '#' } else { '.' }).collect();
        let end = if done { "\n" } else { "" };
        format!("\r\x1b[K{step:8} [{bar}] {table} {rows}/{of}{end}")
    }
}

/// Says something beside what a command prints.
pub(super) fn note(text: &str) {
    print(&mut std::io::stderr(), text);
}

/// Prints text.
pub(super) fn text(text: &str) {
    print(&mut std::io::stdout(), text);
}

/// Who reads may go away (`symbolon key list | head`): that is no failure.
fn print(to: &mut dyn Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

/// Prints a value: as JSON, or for people, who see these members of the items of a list.
pub(super) fn value(value: &Value, columns: &[&str], as_json: bool) {
    text(&if as_json { format!("{value}\n") } else { readable(value, columns) });
}

/// A value for people.
fn readable(value: &Value, columns: &[&str]) -> String {
    match value {
        Value::Array(rows) if rows.is_empty() => "(none)\n".to_owned(),
        Value::Array(rows) => table(rows, columns),
        Value::Object(members) => {
            let width = members.keys().map(String::len).max().unwrap_or(0);
            let known = members.iter().filter(|(_, value)| !value.is_null());
            known.map(|(key, value)| format!("{key:width$}  {}\n", cell(key, value))).collect()
        }
        Value::Null => "done\n".to_owned(),
        other => format!("{}\n", cell("", other)),
    }
}

/// One member. Names that end in `_at` are moments, in seconds since 1970.
fn cell(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(secs) if name.ends_with("_at") => {
            secs.as_i64().map(|secs| date_text(Time::from_secs(secs))).unwrap_or_default()
        }
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let items: Vec<_> = items.iter().filter_map(Value::as_str).map(plain).collect();
            if items.is_empty() { "-".to_owned() } else { items.join(" ") }
        }
        Value::Array(items) => items.len().to_string(),
        other => plain(&other.to_string()),
    }
}

/// What strangers chose (a user agent) must not steer the terminal of who looks at it.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Rows under the names of their columns.
fn table(rows: &[Value], columns: &[&str]) -> String {
    let cells = rows.iter().map(|row| columns.iter().map(|name| cell(name, &row[*name])).collect());
    let head = columns.iter().map(|name| name.to_uppercase()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(cells).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(text, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

/// Prints the settings in force.
pub(super) fn settings(shown: &[Shown], origin: bool, as_json: bool) {
    let rows = shown.iter().map(|shown| {
        let mut row = json!({ "setting": shown.key, "value": shown.value });
        if origin {
            row["origin"] = shown.origin.to_string().into();
        }
        row
    });
    let columns = if origin { &["setting", "value", "origin"][..] } else { &["setting", "value"] };
    value(&rows.collect(), columns, as_json);
}

/// Prints completions for a shell.
pub(super) fn completions(shell: clap_complete::Shell, command: &mut clap::Command) {
    clap_complete::generate(shell, command, "symbolon", &mut std::io::stdout());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_for_people() {
        for (value, columns, text) in [
            (json!(null), &[][..], "done\n"),
            (json!([]), &["a"], "(none)\n"),
            (
                json!({ "sid": "x", "opened_at": 0, "user": null, "roles": [] }),
                &[],
                "opened_at  1970-01-01 00:00 UTC\nroles      -\nsid        x\n",
            ),
            (
                json!([{ "a": "한", "b": true }, { "a": "long", "b": null }]),
                &["b", "a"],
                "B    A\nyes  한\n-    long\n",
            ),
            (json!([{ "a": ["x", "y"], "b": [{}, {}] }]), &["a", "b"], "A    B\nx y  2\n"),
            (
                json!({ "device": "\u{1b}]0;owned\u{7}\r\n" }),
                &[],
                "device  \u{fffd}]0;owned\u{fffd}\u{fffd}\u{fffd}\n",
            ),
        ] {
            assert_eq!(readable(&value, columns), text);
        }
    }

    #[test]
    fn progress_fits_where_it_goes() {
        for (as_json, is_terminal, rows, line) in [
            (false, true, 50, "\r\x1b[Kcopied   [###############...............] users 50/100"),
            (false, false, 50, ""),
            (false, false, 100, "copied users: 100\n"),
            (true, true, 50, ""),
            (
                true,
                true,
                100,
                "{\"of\":100,\"rows\":100,\"step\":\"copied\",\"table\":\"users\"}\n",
            ),
        ] {
            let bar = Bar { as_json, is_terminal };
            assert_eq!(bar.line("copied", "users", rows, 100), line);
        }
    }

    #[test]
    fn refusals_have_exit_codes() {
        let body =
            json!({ "code": "not_found", "title": "No", "detail": "such user", "fix": "Look." });
        let exit = Exit::refused(404, &body);
        assert_eq!((exit.code, &exit.problems[0]["cause"]), (3, &json!("No: such user")));
        assert_eq!(Exit::refused(409, &body).code, 1);
        assert_eq!(Exit::refused(503, &Value::Null).problems.len(), 1);
    }
}
