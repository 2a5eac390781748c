//! The one place that prints.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::config::{Config, ConfigError};

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
    if as_json {
        eprintln!("{}", json!({ "errors": failure.problems }));
    } else {
        for problem in &failure.problems {
            let text = |name: &str| problem[name].as_str().unwrap_or_default();
            eprintln!("error[{}]: {}", text("code"), text("cause"));
            if !text("fix").is_empty() {
                eprintln!("  fix: {}", text("fix"));
            }
        }
    }
    ExitCode::from(failure.code)
}

/// Says what an operator should know.
pub(super) fn warn(warnings: &[ConfigError]) {
    for warning in warnings {
        eprintln!("warning[{}]: {warning}\n  fix: {}", warning.code, warning.fix);
    }
}

/// Prints text.
pub(super) fn text(text: &str) {
    print!("{text}");
}

/// Prints a value: as JSON, or for people.
pub(super) fn value(value: &Value, as_json: bool) {
    if as_json {
        println!("{value}");
        return;
    }
    match value {
        Value::Array(rows) if rows.is_empty() => println!("(none)"),
        Value::Array(rows) => table(rows),
        Value::Object(members) => {
            let width = members.keys().map(String::len).max().unwrap_or(0);
            for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
                println!("{key:width$}  {}", cell(value));
            }
        }
        Value::Null => println!("done"),
        other => println!("{}", cell(other)),
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        Value::Array(items) => items.len().to_string(),
        other => other.to_string(),
    }
}

/// Prints rows under the names of the first row's members.
fn table(rows: &[Value]) {
    let Some(Value::Object(first)) = rows.first() else { return };
    let names: Vec<&String> = first.keys().collect();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| names.iter().map(|name| cell(&row[name.as_str()])).collect())
        .collect();
    let width = |at: usize| {
        cells.iter().map(|row| row[at].chars().count()).chain([names[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |row: &mut dyn Iterator<Item = &str>| {
        let padded = row.zip(&widths).map(|(text, width)| format!("{text:width$}"));
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(&mut names.iter().map(|name| name.as_str()));
    cells.iter().for_each(|row| line(&mut row.iter().map(String::as_str)));
}

/// Prints the settings in force.
pub(super) fn settings(config: &Config, origin: bool, as_json: bool) {
    let rows = config.shown().iter().map(|shown| {
        let mut row = json!({ "setting": shown.key, "value": shown.value });
        if origin {
            row["origin"] = shown.origin.to_string().into();
        }
        row
    });
    value(&rows.collect(), as_json);
}

/// Prints completions for a shell.
pub(super) fn completions(shell: clap_complete::Shell, command: &mut clap::Command) {
    clap_complete::generate(shell, command, "symbolon", &mut std::io::stdout());
}
