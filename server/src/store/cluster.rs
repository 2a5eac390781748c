//! What all servers of one database have in common. Who is first writes it down beside the end of the log, and everybody
//! reads it with each lease: servers of two installations that were led to one database by mistake do not mix.

use symbolon_core::{
    keys::{self, MasterKey},
    lease::waited,
    node,
};
use tokio::time::sleep;

use super::{
    StoreError,
    engine::{Connection, Row, sql},
    nodes,
};

/// What a server shares with all others on its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The issuer of its tokens: `public_url`.
    pub issuer: String,
    /// Tells its master key from others ([`MasterKey::mark`]).
    pub master: [u8; 8],
}

impl Cluster {
    /// Of a server with this URL and this master key.
    pub fn new(issuer: &str, master: &MasterKey) -> Self {
        Self { issuer: issuer.to_owned(), master: master.mark() }
    }

    /// Whether this server is one of those whose `log_head` this is.
    pub(super) fn check(&self, head: &Row) -> Result<(), StoreError> {
        let master: Option<&[u8]> = head.try_get("master")?;
        if master.is_some_and(|master| master != self.master) {
            return Err(StoreError::OtherMasterKey);
        }
        match head.try_get::<Option<&str>>("issuer")? {
            Some(theirs) if theirs != self.issuer => {
                let (theirs, own) = (theirs.into(), self.issuer.as_str().into());
                Err(StoreError::OtherUrl { theirs, own })
            }
            _ => Ok(()),
        }
    }

    /// Finds out whether this server may work on the database, before it has any effect there. The URL of a database
    /// whose servers have all stopped may be another one from now on; its master key may not.
    ///
    /// # Errors
    /// [`StoreError::OtherMasterKey`]; [`StoreError::OtherUrl`] if a server with another URL is alive.
    pub(super) async fn join(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let mut before: Option<Vec<node::Row>> = None;
        loop {
            connection.run("BEGIN").await?;
            match self.try_join(connection, before.as_deref()).await? {
                Joined::Yes => return Ok(connection.run("COMMIT").await?),
                Joined::Ask(nodes) => {
                    connection.run("ROLLBACK").await?;
                    // Whoever lives renews its lease meanwhile.
                    if let Some(lease) = nodes.iter().map(|node| node.lease).max() {
                        sleep(waited(lease)).await;
                    }
                    before = Some(nodes);
                }
            }
        }
    }

    async fn try_join(
        &self,
        connection: &mut Connection,
        before: Option<&[node::Row]>,
    ) -> Result<Joined, StoreError> {
        // Whoever takes a lease shares this row: nobody does between what is read here and what is written.
        let query = "SELECT issuer, master FROM log_head WHERE id = 1 FOR UPDATE";
        let head = sql(query).fetch_optional(connection).await?.ok_or(StoreError::Closed)?;
        let other = match self.check(&head) {
            Ok(()) => None,
            Err(error @ StoreError::OtherUrl { .. }) => Some(error),
            Err(error) => return Err(error),
        };
        self.opens_keys(connection).await?;
        if let Some(error) = other {
            let nodes = nodes::rows_of_all(connection).await?;
            let Some(before) = before else { return Ok(Joined::Ask(nodes)) };
            if nodes.iter().any(|node| !before.contains(node)) {
                return Err(error);
            }
            tracing::warn!("this database gets another public URL: {error}");
        }
        let query = "UPDATE log_head SET issuer = $1, master = $2 WHERE id = 1 \
                     AND (issuer IS DISTINCT FROM $1 OR master IS DISTINCT FROM $2)";
        let query = sql(query).bind(&*self.issuer).bind(&self.master[..]);
        query.execute(connection).await?;
        Ok(Joined::Yes)
    }

    /// A database that was moved or restored names no master key, but has keys.
    async fn opens_keys(&self, connection: &mut Connection) -> Result<(), StoreError> {
        for row in sql("SELECT sealed FROM keys").fetch_all(connection).await? {
            let sealed: &[u8] = row.try_get("sealed")?;
            if keys::sealed_by(sealed) != Some(&self.master) {
                return Err(StoreError::OtherMasterKey);
            }
        }
        Ok(())
    }
}

enum Joined {
    Yes,
    /// The servers that may be alive, with another URL.
    Ask(Vec<node::Row>),
}
