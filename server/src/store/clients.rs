//! Loads of clients, and of what they register themselves with.

use symbolon_core::{
    client::{Client, SecretDigest},
    time::Time,
};

use super::{Store, StoreError, engine::sql, rows};

impl Store {
    /// All clients.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clients(&self) -> Result<Vec<Client>, StoreError> {
        let rows = self.read(sql("SELECT * FROM clients ORDER BY id")).await?;
        rows.iter().map(rows::client).collect()
    }

    /// Whether a client may register itself with the token of this digest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn registration_token_counts(
        &self,
        digest: &SecretDigest,
        now: Time,
    ) -> Result<bool, StoreError> {
        let query =
            "SELECT 1 FROM registration_tokens WHERE digest = $1 AND uses > 0 AND expires_at > $2";
        let query = sql(query).bind(&digest.as_bytes()[..]).bind(now.millis());
        Ok(!self.read(query).await?.is_empty())
    }
}
