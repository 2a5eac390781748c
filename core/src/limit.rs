//! Attempt limits as arithmetic: how often somebody may try, and how a password cannot be guessed online without
//! locking its owner out.
//!
//! Every limit is one [`Quota`], kept by the generic cell rate algorithm: the state of a key is one moment, the time at
//! which it would be as good as unused (*theoretical arrival time*). So there are no windows to reset, no counters, and
//! nothing to clean up: a state in the past is no state. A refused try costs nothing, hence **nobody waits longer than
//! one [`Quota::every`]** for the next one: no limit here is a lock, whatever an attacker does.
//!
//! A login ([`Login`]) is charged *before* the password is hashed, so that parallel tries cannot slip through together,
//! and gets it back when it succeeds ([`Table::succeeded`]) or never ran ([`Table::refund`]): only failures stay. Three
//! quotas:
//!
//! * *address*: all accounts from one address group (an IPv4 address, an IPv6 /64). It stops trying one password on
//!   many accounts.
//! * *pair*: one account from one address group; strict. It stops guessing from a few places. A success empties it: who
//!   knows the password has nothing to guess.
//! * *account*: one account from everywhere; loose, at NIST SP 800-63B-4's 100 failures, then slow. A few attacking
//!   addresses are stopped by their pairs long before they fill it, so the owner at a new place comes in as if nobody
//!   attacked. A success does *not* empty it: the owner's visits must not buy the attacker new tries.
//!
//! A botnet can fill the account's quota and then compete with every stranger for the next try, because nothing tells
//! it from an owner at a new place. But the owner is rarely a stranger ([`Standing`]): an address group seen in the
//! user's live sessions is not held to the account's quota, and a browser that shows the cookie of a live session of this
//! user has a quota of its own that nobody else can touch.
//!
//! The numbers for an attacker on one account from *k* address groups, by default: at most `min(32 k, 200)` tries in
//! the first hour and `min(12 k, 100)` in each later one.
//!
//! Whether the account exists enters nowhere.

use std::{fmt, net::IpAddr, time::Duration};

use aws_lc_rs::hmac;

use crate::{id::SessionId, secret::SecretBytes, time::Time, user::Username};

/// How often: `burst` at once, then one `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many tries an unused key has; none is as good as one.
    pub burst: u32,
    /// How long until one more is there; also the longest that anybody waits.
    pub every: Duration,
}

impl Quota {
    /// How long it takes until a used up quota is whole again.
    pub fn whole(&self) -> Duration {
        self.every.saturating_mul(self.burst.max(1))
    }
}

/// The key has no try left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; the next is in {} s", self.retry_after.as_secs() + 1)]
pub struct Limited {
    /// When the next try is there: the value of a `Retry-After` header, when rounded up.
    pub retry_after: Duration,
}

/// How much of a quota is used: the moment at which all of it is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Used(Time);

impl Used {
    /// Nothing is used.
    pub const NOTHING: Self = Self(Time::from_millis(i64::MIN));

    /// One more try.
    ///
    /// ```
    /// use std::time::Duration;
    /// use symbolon_core::{limit::{Limited, Quota, Used}, time::Time};
    /// let quota = Quota { burst: 1, every: Duration::from_secs(60) };
    /// let now = Time::from_secs(1_000);
    /// let used = Used::NOTHING.charge(&quota, now)?;
    /// assert_eq!(used.charge(&quota, now), Err(Limited { retry_after: quota.every }));
    /// assert!(used.charge(&quota, now + quota.every).is_ok());
    /// # Ok::<(), Limited>(())
    /// ```
    pub fn charge(self, quota: &Quota, now: Time) -> Result<Self, Limited> {
        let used = self.at(quota, now).0.max(now) + quota.every;
        let over = used.since(now + quota.whole());
        if over.is_zero() { Ok(Self(used)) } else { Err(Limited { retry_after: over }) }
    }

    /// The state as this clock can have made it. After the clock was set back, a state lies further ahead than all that
    /// the quota has; whoever keeps states replaces them by this, or the key would wait until the clock is back there.
    #[must_use]
    pub fn at(self, quota: &Quota, now: Time) -> Self {
        self.min(Self(now + quota.whole()))
    }

    /// One try less.
    #[must_use]
    pub fn refund(self, quota: &Quota) -> Self {
        Self(self.0 - quota.every)
    }

    /// Whether the whole quota is there.
    pub fn is_over(self, now: Time) -> bool {
        self.0 <= now
    }
}

/// What a key is: 16 bytes of a MAC, so that the table holds neither names nor addresses, and nobody outside can choose
/// keys that push each other out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 16]);

/// One key and the quota that it is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Whose quota.
    pub key: Key,
    /// How much of it there is.
    pub quota: Quota,
    /// Whether a success gives all of it back, rather than one try.
    pub emptied_by_success: bool,
}

/// Addresses that one attacker has at no cost count as one: an IPv4 address, or the /64 of an IPv6 address. An IPv4
/// address inside IPv6 (`::ffff:192.0.2.1`) is that IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressGroup([u8; 8]);

impl AddressGroup {
    /// The bytes that enter a key.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl From<IpAddr> for AddressGroup {
    fn from(address: IpAddr) -> Self {
        let mut group = [0; 8];
        match address.to_canonical() {
            // No IPv6 /64 in use begins with four zero bytes and then something else.
            IpAddr::V4(v4) => group[4..].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => group.copy_from_slice(&v6.octets()[..8]),
        }
        Self(group)
    }
}

/// What tells who is trying from any stranger, before the password is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Stranger,
    /// A live session of this user was last seen in the same address group.
    KnownAddress,
    /// The request carries the cookie of this live session of this user.
    KnownDevice(SessionId),
}

/// One try to log in.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// The name as parsed, whether or not such a user exists.
    pub account: &'a Username,
    /// From where.
    pub address: AddressGroup,
    /// What is known of who is trying.
    pub standing: Standing,
}

/// The quotas of logins. The module's page says what each is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginQuotas {
    /// All accounts from one address group.
    pub address: Quota,
    /// One account from one address group, or from one known device.
    pub pair: Quota,
    /// One account from everywhere.
    pub account: Quota,
}

impl Default for LoginQuotas {
    fn default() -> Self {
        Self {
            // An office behind one address mistypes now and then, and its mornings are busy: a try that is under way
            // counts until it succeeds.
            address: Quota { burst: 100, every: Duration::from_secs(20) },
            pair: Quota { burst: 20, every: Duration::from_mins(5) },
            account: Quota { burst: 100, every: Duration::from_secs(36) },
        }
    }
}

/// How many keys share one place in the table.
const WAYS: usize = 8;

/// The used quotas of many keys, in memory that never grows.
///
/// Keys are spread over places of eight. Where a place is full, the key that is nearest to its whole quota makes room;
/// so an attacker who floods the table loses his own cheap keys before anybody's strict one is forgotten. At the default
/// size (2.6 MB, touched only as far as used) that takes more failed logins than a machine can hash in the meantime.
pub struct Table {
    mac: hmac::Key,
    places: Vec<[Slot; WAYS]>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    key: Key,
    used: Used,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("keys_max", &self.keys_max()).finish_non_exhaustive()
    }
}

impl Table {
    /// How many keys a table holds by default.
    pub const KEYS_MAX_DEFAULT: usize = 1 << 17;

    /// An empty table for `keys_max` keys (rounded up to eight). `seed` is fresh randomness.
    pub fn new(keys_max: usize, seed: &SecretBytes<32>) -> Self {
        let empty = Slot { key: Key([0; 16]), used: Used::NOTHING };
        Self {
            mac: hmac::Key::new(hmac::HMAC_SHA256, seed.expose()),
            places: vec![[empty; WAYS]; keys_max.div_ceil(WAYS).max(1)],
        }
    }

    /// How many keys fit.
    pub fn keys_max(&self) -> usize {
        self.places.len() * WAYS
    }

    /// The key of whatever is limited: `what` names the limit (`"register"`), `parts` say whose.
    pub fn key(&self, what: &str, parts: &[&[u8]]) -> Key {
        let mut mac = hmac::Context::with_key(&self.mac);
        for part in [what.as_bytes()].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&mac.sign().as_ref()[..16]);
        Key(key)
    }

    /// The quota of one address group for an act other than login, such as `"register"`.
    pub fn by_address(&self, what: &str, address: AddressGroup, quota: Quota) -> Charge {
        Charge { key: self.key(what, &[&address.0]), quota, emptied_by_success: false }
    }

    /// What a try to log in is charged to.
    pub fn login(&self, login: &Login<'_>, quotas: &LoginQuotas) -> Vec<Charge> {
        let name = login.account.as_str().as_bytes();
        let address = login.address.0.as_slice();
        let pair = match login.standing {
            Standing::KnownDevice(session) => self.key("login device", &[name, session.as_bytes()]),
            _ => self.key("login pair", &[name, address]),
        };
        let mut charges = vec![Charge { key: pair, quota: quotas.pair, emptied_by_success: true }];
        if !matches!(login.standing, Standing::KnownDevice(_)) {
            charges.push(self.by_address("login address", login.address, quotas.address));
        }
        if login.standing == Standing::Stranger {
            let key = self.key("login account", &[name]);
            charges.push(Charge { key, quota: quotas.account, emptied_by_success: false });
        }
        charges
    }

    /// Charges one try to all of these, or to none if one of them has none left; then the answer is the longest wait.
    pub fn charge(&mut self, charges: &[Charge], now: Time) -> Result<(), Limited> {
        let mut slots = Vec::with_capacity(charges.len());
        let mut wait = Duration::ZERO;
        for &Charge { key, quota, .. } in charges {
            self.set_if_kept(key, |used| used.at(&quota, now));
            match self.used(key).charge(&quota, now) {
                Ok(used) => slots.push(Slot { key, used }),
                Err(limited) => wait = wait.max(limited.retry_after),
            }
        }
        if !wait.is_zero() {
            return Err(Limited { retry_after: wait });
        }
        slots.into_iter().for_each(|slot| self.set(slot));
        Ok(())
    }

    /// Gives back a try that never ran, because the server was busy.
    pub fn refund(&mut self, charges: &[Charge]) {
        for charge in charges {
            self.set_if_kept(charge.key, |used| used.refund(&charge.quota));
        }
    }

    /// Gives back a try that succeeded.
    pub fn succeeded(&mut self, charges: &[Charge]) {
        for charge in charges {
            self.set_if_kept(charge.key, |used| {
                if charge.emptied_by_success { Used::NOTHING } else { used.refund(&charge.quota) }
            });
        }
    }

    fn used(&self, key: Key) -> Used {
        let place = &self.places[self.place(key)];
        place.iter().find(|slot| slot.key == key).map_or(Used::NOTHING, |slot| slot.used)
    }

    fn set_if_kept(&mut self, key: Key, change: impl Fn(Used) -> Used) {
        let place = self.place(key);
        if let Some(slot) = self.places[place].iter_mut().find(|slot| slot.key == key) {
            slot.used = change(slot.used);
        }
    }

    fn set(&mut self, new: Slot) {
        let place = self.place(new.key);
        let order = |slot: &&mut Slot| (slot.key != new.key, slot.used);
        if let Some(slot) = self.places[place].iter_mut().min_by_key(order) {
            *slot = new;
        }
    }

    fn place(&self, key: Key) -> usize {
        let [a, b, c, d, ..] = key.0;
        u32::from_be_bytes([a, b, c, d]) as usize % self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const START: Time = Time::from_secs(1_800_000_000);

    fn table(keys_max: usize) -> Table {
        Table::new(keys_max, &SecretBytes::new([7; 32]))
    }

    fn address(number: u32) -> AddressGroup {
        IpAddr::from(number.to_be_bytes()).into()
    }

    /// One try at the account `admin`; `true` when the password may be looked at.
    fn attempt(
        table: &mut Table,
        from: u32,
        standing: Standing,
        now: Time,
    ) -> Result<Vec<Charge>, Limited> {
        let account: Username = "admin".parse().unwrap();
        let login = Login { account: &account, address: address(from), standing };
        let charges = table.login(&login, &LoginQuotas::default());
        table.charge(&charges, now).map(|()| charges)
    }

    fn tries_until_limited(table: &mut Table, from: u32, standing: Standing) -> usize {
        (0..1000).take_while(|_| attempt(table, from, standing, START).is_ok()).count()
    }

    #[test]
    fn addresses_of_one_attacker_are_one_group() {
        let group = |text: &str| AddressGroup::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(group("2001:db8:1:2::1"), group("2001:db8:1:2:ffff::9"));
        assert_ne!(group("2001:db8:1:2::1"), group("2001:db8:1:3::1"));
        assert_eq!(group("::ffff:192.0.2.1"), group("192.0.2.1"));
        assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
    }

    #[test]
    fn strangers_have_few_tries_and_known_devices_their_own() {
        let mut table = table(1024);
        assert_eq!(tries_until_limited(&mut table, 1, Standing::Stranger), 20);
        assert_eq!(tries_until_limited(&mut table, 1, Standing::Stranger), 0);
        let device = Standing::KnownDevice(SessionId::from_bytes([1; 16]));
        assert_eq!(tries_until_limited(&mut table, 1, device), 20);
        let other = Standing::KnownDevice(SessionId::from_bytes([2; 16]));
        assert_eq!(tries_until_limited(&mut table, 1, other), 20);
        // What one address used up, another has.
        assert_eq!(tries_until_limited(&mut table, 2, Standing::Stranger), 20);
    }

    #[test]
    fn one_address_cannot_try_many_accounts() {
        let mut table = table(1024);
        let tried = (0..1000).take_while(|n| {
            let account: Username = format!("user{n}").parse().unwrap();
            let login =
                Login { account: &account, address: address(1), standing: Standing::Stranger };
            let charges = table.login(&login, &LoginQuotas::default());
            table.charge(&charges, START).is_ok()
        });
        assert_eq!(tried.count(), 100);
    }

    #[test]
    fn success_gives_back_the_try_and_empties_the_pair_alone() {
        let mut table = table(1024);
        for _ in 0..1000 {
            let charges = attempt(&mut table, 1, Standing::Stranger, START).unwrap();
            table.succeeded(&charges);
        }
        for _ in 0..19 {
            attempt(&mut table, 1, Standing::Stranger, START).unwrap();
        }
        let charges = attempt(&mut table, 1, Standing::Stranger, START).unwrap();
        table.succeeded(&charges);
        assert_eq!(tries_until_limited(&mut table, 1, Standing::Stranger), 20);
        // Of the account's 100 tries 19 + 20 are used: the success gave back none but its own.
        let others =
            (2..).take(100).map(|n| tries_until_limited(&mut table, n, Standing::Stranger));
        assert_eq!(others.sum::<usize>(), 61);
    }

    #[test]
    fn a_try_that_never_ran_is_given_back() {
        let mut table = table(1024);
        for _ in 0..1000 {
            let charges = attempt(&mut table, 1, Standing::Stranger, START).unwrap();
            table.refund(&charges);
        }
        assert_eq!(tries_until_limited(&mut table, 1, Standing::Stranger), 20);
    }

    #[test]
    fn the_full_account_still_opens_to_its_owner() {
        let mut table = table(4096);
        for attacker in 0..1000 {
            tries_until_limited(&mut table, attacker, Standing::Stranger);
        }
        let limited = attempt(&mut table, 5000, Standing::Stranger, START).unwrap_err();
        assert!(limited.retry_after <= LoginQuotas::default().account.every);
        attempt(&mut table, 5000, Standing::KnownAddress, START).unwrap();
        let device = Standing::KnownDevice(SessionId::from_bytes([1; 16]));
        attempt(&mut table, 5000, device, START).unwrap();
    }

    #[test]
    fn a_flood_of_keys_neither_grows_the_table_nor_frees_who_is_limited() {
        let mut table = table(1024);
        assert_eq!(tries_until_limited(&mut table, 1, Standing::Stranger), 20);
        let quota = LoginQuotas::default().pair;
        for n in 0..20_000_u32 {
            let key = table.key("flood", &[&n.to_be_bytes()]);
            table.charge(&[Charge { key, quota, emptied_by_success: false }], START).unwrap();
        }
        assert_eq!(table.keys_max(), 1024);
        assert!(attempt(&mut table, 1, Standing::Stranger, START).is_err());
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let mut table = table(1024);
        tries_until_limited(&mut table, 1, Standing::Stranger);
        let now = START - HOUR * 24 * 365;
        let limited = attempt(&mut table, 1, Standing::Stranger, now).unwrap_err();
        let pair = LoginQuotas::default().pair;
        assert_eq!(limited.retry_after, pair.every);
        assert!(attempt(&mut table, 1, Standing::Stranger, now + pair.every).is_ok());
    }

    #[test]
    fn nothing_of_names_or_addresses_is_printed() {
        let table = table(8);
        assert_eq!(format!("{table:?}"), "Table { keys_max: 8, .. }");
    }

    proptest! {
        /// An attacker with `k` address groups, trying whenever it likes.
        #[test]
        fn guesses_on_one_account_are_bounded(
            k in 1_u32..40,
            steps in prop::collection::vec((0_u32..40, 0_u64..30_000), 1..2000),
        ) {
            let mut table = table(4096);
            let mut now = START;
            let mut allowed: Vec<Time> = Vec::new();
            for (from, pause_ms) in steps {
                now = now + Duration::from_millis(pause_ms);
                match attempt(&mut table, from % k, Standing::Stranger, now) {
                    Ok(_) => allowed.push(now),
                    Err(limited) => {
                        prop_assert!(!limited.retry_after.is_zero());
                        prop_assert!(limited.retry_after <= LoginQuotas::default().pair.every);
                    }
                }
            }
            for (n, start) in allowed.iter().enumerate() {
                let within = allowed[n..].iter().take_while(|t| t.since(*start) < HOUR).count();
                prop_assert!(within <= (32 * k as usize).min(200), "{within} tries of {k}");
            }
        }

        /// While few addresses hammer, an owner who comes from anywhere else is let in at once; and who was told to wait
        /// is let in after that wait if nobody else of the same group tried.
        #[test]
        fn the_owner_is_not_locked_out(
            k in 1_u32..=4,
            hours in 1_u64..6,
            pace_s in 10_u64..200,
        ) {
            let mut table = table(4096);
            let mut now = START;
            while now.since(START) < HOUR * u32::try_from(hours).unwrap() {
                now = now + Duration::from_secs(pace_s);
                for attacker in 0..k {
                    if let Err(limited) = attempt(&mut table, attacker, Standing::Stranger, now) {
                        prop_assert!(limited.retry_after <= LoginQuotas::default().pair.every);
                    }
                }
            }
            prop_assert!(attempt(&mut table, 99, Standing::Stranger, now).is_ok());
        }

        #[test]
        fn a_quota_gives_what_it_says(
            burst in 0_u32..20,
            every_ms in 1_u64..10_000,
            pauses in prop::collection::vec(-5_000_i64..20_000, 1..300),
        ) {
            let quota = Quota { burst, every: Duration::from_millis(every_ms) };
            let (mut used, mut now) = (Used::NOTHING, START);
            for pause in pauses {
                now = Time::from_millis(now.millis() + pause);
                used = used.at(&quota, now);
                match used.charge(&quota, now) {
                    Ok(next) => used = next,
                    Err(limited) => {
                        prop_assert!(limited.retry_after <= quota.every && !limited.retry_after.is_zero());
                        prop_assert!(used.charge(&quota, now + limited.retry_after).is_ok());
                    }
                }
            }
            prop_assert!(used.is_over(now + quota.whole()));
        }
    }
}
