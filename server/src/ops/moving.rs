//! Moving a store to another engine, backing it up, restoring it. The master key is in none of them: it is checked that
//! it opens what is moved.

use std::path::{Path, PathBuf};

use symbolon_core::{keys::KeyRecord, secret::SecretText};

pub use crate::store::moving::{Ended, MoveError, Moved, Progress};
use crate::{
    app::{self, LEASE_MAX},
    config::{Config, DatabaseUrl},
    store::{
        Database,
        moving::{self, Place, Restoring, Watch},
    },
};

/// Where a store is, as whoever asks says it.
#[derive(Debug, Clone)]
pub enum Where {
    /// Where the configuration has it.
    Configured,
    /// In a data folder.
    Folder(PathBuf),
    /// In a PostgreSQL database of this URL.
    Url(SecretText),
}

/// Told how far it is.
pub type Told<'a> = &'a mut (dyn FnMut(Progress<'_>) + Send);

/// Moves a store, or goes on with that. Afterwards no server starts where it was.
///
/// # Errors
/// [`MoveError`].
pub async fn migrate(
    config: &Config,
    from: &Where,
    to: &Where,
    progress: Told<'_>,
) -> Result<Vec<Moved>, MoveError> {
    let keys = |records: &[KeyRecord]| app::check_keys(config, records);
    let watch = Watch { progress, keys: &keys };
    moving::migrate(&from.place(config), &to.place(config), watch).await
}

/// Gives up a move that was interrupted: servers start on its source again.
///
/// # Errors
/// [`MoveError`].
pub async fn abandon(config: &Config, from: &Where) -> Result<(), MoveError> {
    moving::abandon(&from.place(config)).await
}

/// Copies the configured store into a file.
///
/// # Errors
/// [`MoveError`].
pub async fn backup(
    config: &Config,
    file: &Path,
    last: bool,
    progress: Told<'_>,
) -> Result<Vec<Moved>, MoveError> {
    let keys = |records: &[KeyRecord]| app::check_keys(config, records);
    let watch = Watch { progress, keys: &keys };
    moving::backup(&Where::Configured.place(config), file, last, watch).await
}

/// Fills the configured store from a backup.
///
/// # Errors
/// [`MoveError`].
pub async fn restore(
    config: &Config,
    file: &Path,
    overwrite: bool,
    keep_sessions: bool,
    progress: Told<'_>,
) -> Result<(Vec<Moved>, Ended), MoveError> {
    let keys = |records: &[KeyRecord]| app::check_keys(config, records);
    let watch = Watch { progress, keys: &keys };
    let how = Restoring { overwrite, keep_sessions, lease_max: LEASE_MAX };
    moving::restore(file, &Where::Configured.place(config), how, watch).await
}

impl Where {
    fn place(&self, config: &Config) -> Place {
        let url = match self {
            Self::Folder(folder) => return Place::Folder(folder.clone()),
            Self::Url(url) => url.clone(),
            Self::Configured => match &config.store.url {
                Some(DatabaseUrl(url)) => url.clone(),
                None => return Place::Folder(config.data_dir.clone()),
            },
        };
        let timeout = config.store.timeout;
        let public_url = config.public_url.issuer().into();
        Place::Database(Database { url, public_url, connections_max: 1, timeout })
    }
}

impl MoveError {
    /// The stable code, and what to do.
    pub fn advice(&self) -> (&'static str, &'static str) {
        match self {
            Self::Store(error) => error.advice(),
            Self::Running(_) => ("store_in_use", "stop every server that uses the store"),
            Self::NoStore(_) => {
                ("no_store", "name the folder or database that a server has worked on")
            }
            Self::NotEmpty => (
                "target_not_empty",
                "name an empty folder or database; restore replaces what is there with --overwrite",
            ),
            Self::Unfit(_) => (
                "store_moving",
                "let the move or the restore finish, use the store that it was moved to, or give up an \
                 interrupted move with `symbolon migrate abandon`",
            ),
            Self::Differs(_) => (
                "copy_differs",
                "see that nothing else writes to either store, empty the target and begin again",
            ),
            Self::MasterKey(_) => (
                "master_key",
                "name the master key of this store with --set keys.master_key_file=FILE",
            ),
            Self::Schema => (
                "other_schema",
                "use the version of Symbolon that made it; start the server once to bring a store up to date",
            ),
            Self::EndsUnknown => (
                "ends_unknown",
                "restore without --keep-sessions; only a backup that was made with --last can keep them",
            ),
        }
    }
}
