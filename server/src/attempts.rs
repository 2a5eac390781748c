//! Attempt limits of this process: core's table, behind a lock.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use symbolon_core::{
    client::ClientId,
    limit::{AddressGroup, Charge, Limited, Login, LoginQuotas, Quota, Standing, Table},
    secret::SecretBytes,
    time::Time,
    user::Username,
};

/// Names that are tried with one invitation: who was invited is told of a taken one.
const INVITED_NAMES: Quota = Quota { burst: 10, every: Duration::from_secs(3600) };

/// How often anybody may try what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Logins.
    pub login: LoginQuotas,
    /// Registrations from one address group.
    pub registration: Quota,
    /// Visitors' sessions that one client opens for one address group.
    pub visitor: Quota,
}

/// The table of used quotas.
#[derive(Debug)]
pub struct Attempts {
    table: Mutex<Table>,
    quotas: Quotas,
}

impl Attempts {
    /// An empty table. `seed` is fresh randomness.
    pub fn new(quotas: Quotas, seed: &SecretBytes<32>) -> Self {
        Self { table: Mutex::new(Table::new(Table::KEYS_MAX_DEFAULT, seed)), quotas }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A poisoned lock still holds a valid table: every entry is a plain value.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Charges a try to log in.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn login(
        &self,
        account: &Username,
        address: IpAddr,
        standing: Standing,
        now: Time,
    ) -> Result<Vec<Charge>, Limited> {
        let mut table = self.table();
        let login = Login { account, address: address.into(), standing };
        let charges = table.login(&login, &self.quotas.login);
        table.charge(&charges, now)?;
        Ok(charges)
    }

    /// The try succeeded.
    pub fn succeeded(&self, charges: &[Charge]) {
        self.table().succeeded(charges);
    }

    /// The try never ran.
    pub fn refund(&self, charges: &[Charge]) {
        self.table().refund(charges);
    }

    /// Charges a registration.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn registration(&self, address: IpAddr, now: Time) -> Result<(), Limited> {
        self.charge("register", &[], address, self.quotas.registration, now)
    }

    /// Charges a name that is tried with an invitation.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn invitation(&self, digest: &[u8; 32], now: Time) -> Result<(), Limited> {
        let mut table = self.table();
        let key = table.key("invitation", &[digest]);
        table.charge(&[Charge { key, quota: INVITED_NAMES, emptied_by_success: false }], now)
    }

    /// Charges a visitor's session.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn visitor(&self, client: &ClientId, address: IpAddr, now: Time) -> Result<(), Limited> {
        self.charge("visitor", client.as_str().as_bytes(), address, self.quotas.visitor, now)
    }

    fn charge(
        &self,
        what: &str,
        whose: &[u8],
        address: IpAddr,
        quota: Quota,
        now: Time,
    ) -> Result<(), Limited> {
        let mut table = self.table();
        let group = AddressGroup::from(address);
        let key = table.key(what, &[whose, group.as_bytes()]);
        table.charge(&[Charge { key, quota, emptied_by_success: false }], now)
    }
}
