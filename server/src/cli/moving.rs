//! Verbs that move a store, copy it into a backup and fill it from one. They act on the store itself: what they do must
//! not happen beside a server, except a backup, which only reads.

use std::{
    io::{BufRead, IsTerminal},
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use symbolon_core::secret::SecretText;

use super::{Arguments, Exit, out, run::block_on};
use crate::{
    config::{Config, DatabaseUrl},
    ops::moving::{self, Ended, MoveError, Moved, Progress, Where},
};

#[derive(Debug, Subcommand)]
pub(super) enum MigrateCommand {
    /// Move users, sessions, keys and all else; nobody is logged out
    Store {
        /// Where it is: sqlite:FOLDER, postgres://USER@HOST/NAME, file:FILE with such a URL, or config
        #[arg(long, value_name = "STORE")]
        from: Named,
        /// Where it goes, in the same words: an empty folder or database
        #[arg(long, value_name = "STORE")]
        to: Named,
    },
    /// Give up a move that was interrupted: servers start on its source again
    Abandon {
        /// What was moved
        #[arg(long, value_name = "STORE")]
        from: Named,
    },
}

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// No server starts on the store any more: what is restored from this file can keep its sessions
    #[arg(long)]
    last: bool,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Replace what is there
    #[arg(long)]
    overwrite: bool,
    /// Let sessions and tokens live on; only after a backup with --last
    #[arg(long)]
    keep_sessions: bool,
}

/// A store as it stands on a command line, on which no password stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Configured,
    Folder(PathBuf),
    Url(String),
    UrlFile(PathBuf),
}

impl FromStr for Named {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "config" {
            return Ok(Self::Configured);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let has_password = text.contains("password=")
                || text.split_once('@').is_some_and(|(before, _)| before.matches(':').count() > 1);
            return if has_password {
                Err(
                    "leave the password out and set PGPASSWORD, or write file:FILE, with the whole URL in it",
                )
            } else {
                Ok(Self::Url(text.to_owned()))
            };
        }
        match text.split_once(':') {
            Some(("sqlite", folder)) if !folder.is_empty() => Ok(Self::Folder(folder.into())),
            Some(("file", file)) if !file.is_empty() => Ok(Self::UrlFile(file.into())),
            _ => Err("write sqlite:FOLDER, postgres://USER@HOST/NAME, file:FILE or config"),
        }
    }
}

impl Named {
    fn place(&self) -> Result<Where, Exit> {
        let text = match self {
            Self::Configured => return Ok(Where::Configured),
            Self::Folder(folder) => return Ok(Where::Folder(folder.clone())),
            Self::Url(url) => url.clone(),
            Self::UrlFile(file) => std::fs::read_to_string(file).map_err(|error| {
                let cause = format!("{}: {error}", file.display());
                Exit::new(2, "invalid_store", cause, "name a file that this user can read")
            })?,
        };
        let url = SecretText::new(text);
        let url = url.expose().trim().parse::<DatabaseUrl>().map_err(|error| {
            Exit::new(2, "invalid_store", error.to_string(), "write postgres://USER@HOST/NAME")
        })?;
        Ok(Where::Url(url.0))
    }
}

/// `symbolon migrate`
pub(super) fn migrate(arguments: &Arguments, command: &MigrateCommand) -> Result<(), Exit> {
    let config = arguments.read_config(&[])?;
    match command {
        MigrateCommand::Abandon { from } => {
            let from = from.place()?;
            block_on(async {
                moving::abandon(&config, &from).await.map_err(|error| fail(&error))
            })?;
            out::value(&Value::Null, &[], arguments.json);
        }
        MigrateCommand::Store { from, to } => {
            let (from, to) = (from.place()?, to.place()?);
            let moved = block_on(async {
                let mut bar = out::Bar::new(arguments.json);
                let mut told = |it: Progress<'_>| bar.show(it.step, it.table, it.rows, it.of);
                moving::migrate(&config, &from, &to, &mut told).await.map_err(|error| fail(&error))
            })?;
            print(arguments, &moved, json!({ "master_key_file": config.master_key_file }));
            note(
                arguments,
                &config,
                &[
                    "Everything is in the new store, and every row was compared. Set store.url (or data_dir) to it.",
                    "No server starts on the old one any more.",
                ],
            );
        }
    }
    Ok(())
}

/// `symbolon backup`
pub(super) fn backup(arguments: &Arguments, backup: &Backup) -> Result<(), Exit> {
    let config = arguments.read_config(&[])?;
    refuse_existing(&backup.to)?;
    let moved = block_on(async {
        let mut bar = out::Bar::new(arguments.json);
        let mut told = |it: Progress<'_>| bar.show(it.step, it.table, it.rows, it.of);
        let done = moving::backup(&config, &backup.to, backup.last, &mut told).await;
        done.map_err(|error| fail(&error))
    })?;
    print(arguments, &moved, json!({ "file": backup.to, "last": backup.last }));
    let last = "No server starts on this store any more; a restore may keep its sessions.";
    let rest = "A restore ends all sessions: what was ended after this moment stays ended.";
    note(arguments, &config, &[if backup.last { last } else { rest }]);
    Ok(())
}

fn refuse_existing(file: &Path) -> Result<(), Exit> {
    if file.exists() {
        let cause = format!("{} is there already", file.display());
        return Err(Exit::new(1, "file_exists", cause, "name another file"));
    }
    Ok(())
}

/// `symbolon restore`
pub(super) fn restore(arguments: &Arguments, restore: &Restore) -> Result<(), Exit> {
    let config = arguments.read_config(&[])?;
    let (moved, ended) = block_on(async {
        let mut bar = out::Bar::new(arguments.json);
        let mut told = |it: Progress<'_>| bar.show(it.step, it.table, it.rows, it.of);
        let Restore { from, keep_sessions, overwrite } = restore;
        let keep = *keep_sessions;
        let first = moving::restore(&config, from, *overwrite, keep, &mut told).await;
        let done = match first {
            Err(MoveError::NotEmpty) if agrees(arguments) => {
                moving::restore(&config, from, true, keep, &mut told).await
            }
            done => done,
        };
        done.map_err(|error| fail(&error))
    })?;
    let Ended { made_at, sessions, keys, consents, invitations } = ended;
    let what = json!({
        "made_at": made_at.secs(), "ended_sessions": sessions, "withdrawn_keys": keys,
        "removed_consents": consents, "removed_invitations": invitations,
    });
    print(arguments, &moved, what);
    let lost = "What was changed after the backup is as it was before: passwords, roles, disabled users, client secrets, \
                removed users and clients. Change it again.";
    let ended = "Everybody logs in again; every token and cookie of before is refused; applications ask for permission \
                 again; invitations are void.";
    let wait = "The first confirmed end waits for leases of before, up to 30 s.";
    let kept = "Sessions go on. Never restore this file a second time with --keep-sessions: what has ended meanwhile \
                would live again.";
    let lines =
        if restore.keep_sessions { [kept, wait].to_vec() } else { [ended, lost, wait].to_vec() };
    note(arguments, &config, &lines);
    Ok(())
}

/// Asks somebody who can be asked.
fn agrees(arguments: &Arguments) -> bool {
    if arguments.json || !std::io::stdin().is_terminal() {
        return false;
    }
    out::note("The store is not empty. Replace all of it? Type yes: ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).is_ok() && line.trim() == "yes"
}

fn print(arguments: &Arguments, moved: &[Moved], mut more: Value) {
    let row = |moved: &Moved| json!({ "table": moved.table, "rows": moved.rows, "checksum": moved.checksum });
    let tables: Value = moved.iter().map(row).collect();
    if arguments.json {
        more["tables"] = tables;
        out::value(&more, &[], true);
    } else {
        out::value(&tables, &["table", "rows", "checksum"], false);
        out::value(&more, &[], false);
    }
}

/// What people should know besides.
fn note(arguments: &Arguments, config: &Config, lines: &[&str]) {
    if !arguments.json {
        let key = config.master_key_file.display();
        let key = format!("The master key is in no store and no backup: keep {key}.");
        let lines: Vec<_> = lines.iter().copied().chain([key.as_str()]).collect();
        out::note(&format!("{}\n", lines.join("\n")));
    }
}

fn fail(error: &MoveError) -> Exit {
    let (code, fix) = error.advice();
    let busy = matches!(code, "data_folder_busy" | "store_in_use" | "no_store" | "database_away");
    Exit::new(if busy { 4 } else { 1 }, code, error.to_string(), fix)
}
