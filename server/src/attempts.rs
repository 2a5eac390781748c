//! Attempt limits of this process: core's table, behind a lock.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use symbolon_core::{
    client::ClientId,
    id::SessionId,
    limit::{AddressGroup, Charge, Limited, Login, LoginQuotas, Quota, Standing, Table},
    secret::SecretBytes,
    time::Time,
    user::Username,
};

/// Names that are tried with one invitation: who was invited is told of a taken one.
const INVITED_NAMES: Quota = Quota { burst: 10, every: Duration::from_secs(3600) };

/// Devices of one public client, whose name anybody can say, that begin to wait at one address group.
const DEVICES: Quota = Quota { burst: 30, every: Duration::from_secs(10) };

/// Authorization requests that one address group pushes for a public client, whose name anybody can say, or for one that
/// registered itself: far fewer than may rest of one client.
const PUSHED: Quota = Quota { burst: 300, every: Duration::from_millis(500) };

/// Assertions of one client that registered itself. Used ones are remembered in one table for all clients, for up to an
/// hour: strangers must not fill it.
const ASSERTIONS: Quota = Quota { burst: 1000, every: Duration::from_millis(250) };

/// Codes of devices that are typed in one session and that nobody shows.
const USER_CODES: Quota = Quota { burst: 10, every: Duration::from_secs(60) };

/// The same from one address group: who has many sessions, or an account for each try, gains little by it.
const USER_CODES_OF_ADDRESS: Quota = Quota { burst: 50, every: Duration::from_secs(20) };

/// How often anybody may try what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Logins.
    pub login: LoginQuotas,
    /// Registrations from one address group.
    pub registration: Quota,
    /// Visitors' sessions that one client opens for one address group.
    pub visitor: Quota,
    /// Clients that register or change themselves from one address group.
    pub client: Quota,
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

    /// Charges a client that registers or changes itself.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn client(&self, address: IpAddr, now: Time) -> Result<(), Limited> {
        self.charge("client", &[], address, self.quotas.client, now)
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

    /// Charges a device that begins to wait.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn device(&self, client: &ClientId, address: IpAddr, now: Time) -> Result<(), Limited> {
        self.charge("device", client.as_str().as_bytes(), address, DEVICES, now)
    }

    /// Charges an authorization request that is pushed.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn pushed(&self, client: &ClientId, address: IpAddr, now: Time) -> Result<(), Limited> {
        self.charge("pushed", client.as_str().as_bytes(), address, PUSHED, now)
    }

    /// Charges an assertion of a client that registered itself.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn assertion(&self, client: &ClientId, now: Time) -> Result<(), Limited> {
        let mut table = self.table();
        let key = table.key("assertion", &[client.as_str().as_bytes()]);
        table.charge(&[Charge { key, quota: ASSERTIONS, emptied_by_success: false }], now)
    }

    /// Charges a device's code that is typed in a session. [Refund](Self::refund) it if a device shows it.
    ///
    /// # Errors
    /// [`Limited`].
    pub fn user_code(
        &self,
        session: SessionId,
        address: IpAddr,
        now: Time,
    ) -> Result<[Charge; 2], Limited> {
        let mut table = self.table();
        let group = AddressGroup::from(address);
        let charge = |key, quota| Charge { key, quota, emptied_by_success: false };
        let charges = [
            charge(table.key("user code", &[session.as_bytes()]), USER_CODES),
            charge(table.key("user code at", &[group.as_bytes()]), USER_CODES_OF_ADDRESS),
        ];
        table.charge(&charges, now)?;
        Ok(charges)
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
