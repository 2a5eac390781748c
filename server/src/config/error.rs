//! What is wrong with a configuration, said so that it can be mended. Never with the value of a secret.

use std::{fmt, path::PathBuf};

/// Where a value comes from; later ones in this list win.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The command, which has defaults of its own: `symbolon dev`.
    Command,
    /// A line of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment, by its name.
    Variable(String),
    /// `--set` on the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Command => f.write_str("default of the command"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ConfigError {
    /// What programs compare; it never changes.
    pub code: &'static str,
    /// The setting, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where its value comes from.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub origin: Option<Origin>,
    /// What is wrong.
    pub cause: String,
    /// What to do.
    pub fix: String,
}

fn as_text<S: serde::Serializer>(origin: &Option<Origin>, to: S) -> Result<S::Ok, S::Error> {
    match origin {
        Some(origin) => to.collect_str(origin),
        None => to.serialize_none(),
    }
}

impl ConfigError {
    /// An error that is about no setting yet.
    pub fn new(code: &'static str, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code, key: None, origin: None, cause: cause.into(), fix: fix.into() }
    }

    /// Names the setting.
    #[must_use]
    pub fn at(self, key: impl Into<String>, origin: Option<Origin>) -> Self {
        Self { key: Some(key.into()), origin, ..self }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.cause)?;
        match &self.origin {
            Some(Origin::Default) | None => Ok(()),
            Some(origin) => write!(f, " ({origin})"),
        }
    }
}

impl std::error::Error for ConfigError {}
