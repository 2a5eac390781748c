//! Revocation: which ids were ended lately.
//!
//! Everything that can be ended is named by 16 bytes of one set ([`EntryId`]): a session, one access token, one
//! generation of a handle, a client, a key. An entry is needed only until the last access token that could carry the
//! id has expired.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use rand_core::CryptoRng;

use crate::{id::EntryId, time::Time};

/// How long an entry must be kept, *D* of the protocol: the longest life of an access token, the allowance that a
/// verifier makes for clocks, and one lease, under which a copy could still be made.
pub fn entry_life(token_life_max: Duration, leeway: Duration, lease: Duration) -> Duration {
    token_life_max + leeway * 2 + lease
}

/// Parts of the set. Growing and forgetting work on one at a time, so that nobody waits long for a lookup.
const SHARDS: usize = 64;
/// A full table grows by a sixteenth of its room: between 84 % and 90 % of the room is used.
const GROWTH: (usize, usize) = (17, 16);
const LOAD_MAX: (usize, usize) = (9, 10);
const ROOM_MIN: usize = 8;

/// The ids that were ended within the last [`entry_life`]: what every check looks at, whatever a cache says.
///
/// It takes 20 to 22 bytes per id, and a lookup reads one place in memory. Times are kept by the minute, so an entry
/// stays up to a minute longer than asked. The id of sixteen zeros names nothing and is never kept.
///
/// ```
/// use symbolon_core::{id::SessionId, revocation::Ended, time::Time};
/// let (mut ended, sid) = (Ended::default(), SessionId::from_bytes([1; 16]));
/// ended.insert(sid.entry(), Time::from_secs(100));
/// assert!(ended.contains(sid.entry()));
/// ended.forget_before(Time::from_secs(160));
/// assert!(!ended.contains(sid.entry()));
/// ```
#[derive(Debug)]
pub struct Ended {
    seed: [u64; 2],
    shards: Vec<Shard>,
    next_to_sweep: usize,
}

impl Default for Ended {
    fn default() -> Self {
        let random = RandomState::new();
        Self::with_seed([random.hash_one(1_u8), random.hash_one(2_u8)])
    }
}

impl Ended {
    /// An empty set whose order follows from `rng`. As for any hash map: whoever chooses ids must not be able to make
    /// them meet.
    pub fn new(rng: &mut impl CryptoRng) -> Self {
        Self::with_seed([rng.next_u64(), rng.next_u64()])
    }

    fn with_seed(seed: [u64; 2]) -> Self {
        Self { seed, shards: (0..SHARDS).map(|_| Shard::default()).collect(), next_to_sweep: 0 }
    }

    /// Adds an id that was ended. Adding it again keeps the later time.
    pub fn insert(&mut self, id: EntryId, at: Time) {
        if *id.as_bytes() != [0; 16] {
            let hash = hash(self.seed, id.as_bytes());
            self.shards[shard(hash)].insert(self.seed, *id.as_bytes(), minute(at));
        }
    }

    /// Whether the id was ended.
    pub fn contains(&self, id: EntryId) -> bool {
        let hash = hash(self.seed, id.as_bytes());
        self.shards[shard(hash)].find(self.seed, id.as_bytes(), hash).is_some()
    }

    /// Whether any of the ids was ended.
    pub fn contains_any(&self, ids: &[EntryId]) -> bool {
        // A large set is not in the processor's cache, and each lookup would wait for its place in memory before the
        // next begins. Without a branch between them (`|`), all first places come together.
        ids.iter().fold(false, |any, id| any | self.is_at_home(*id))
            || ids.iter().any(|id| self.contains(*id))
    }

    /// Whether the id was ended and is in the first place where it is looked for.
    fn is_at_home(&self, id: EntryId) -> bool {
        let hash = hash(self.seed, id.as_bytes());
        let shard = &self.shards[shard(hash)];
        shard.ids.get(shard.home(hash)) == Some(id.as_bytes())
    }

    /// Drops entries that no live token can carry any more. Entries leave only by age.
    pub fn forget_before(&mut self, before: Time) {
        for _ in 0..SHARDS {
            self.forget_some_before(before);
        }
    }

    /// Does a 64th part of what [`Self::forget_before`] does, another one at each call.
    pub fn forget_some_before(&mut self, before: Time) {
        self.shards[self.next_to_sweep].forget_before(self.seed, minute(before));
        self.next_to_sweep = (self.next_to_sweep + 1) % SHARDS;
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.used).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Minutes wrap every 45 days, twice as long as any entry is kept.
fn minute(at: Time) -> u16 {
    u16::try_from(at.secs().div_euclid(60).rem_euclid(1 << 16)).unwrap_or_default()
}

fn hash(seed: [u64; 2], id: &[u8; 16]) -> u64 {
    let id = u128::from_ne_bytes(*id);
    let halves =
        [(id >> 64) ^ u128::from(seed[0]), (id & u128::from(u64::MAX)) ^ u128::from(seed[1])];
    let product = halves[0].wrapping_mul(halves[1]);
    low(product >> 64) ^ low(product)
}

fn low(wide: u128) -> u64 {
    u64::try_from(wide & u128::from(u64::MAX)).unwrap_or_default()
}

fn shard(hash: u64) -> usize {
    usize::try_from(hash >> 58).unwrap_or_default()
}

/// One part: a hash table with open addressing in which whoever is further from home has the place ("Robin Hood"), so
/// that looking for an id that is not there, which is the usual case, ends early even when the table is nearly full.
#[derive(Debug, Default)]
struct Shard {
    ids: Vec<[u8; 16]>,
    minutes: Vec<u16>,
    used: usize,
}

impl Shard {
    fn with_room(room: usize) -> Self {
        Self { ids: vec![[0; 16]; room], minutes: vec![0; room], used: 0 }
    }

    /// Where an id of this hash belongs.
    fn home(&self, hash: u64) -> usize {
        let place = (u128::from(hash << 6) * self.ids.len() as u128) >> 64;
        usize::try_from(place).unwrap_or_default()
    }

    fn after(&self, place: usize) -> usize {
        if place + 1 == self.ids.len() { 0 } else { place + 1 }
    }

    /// How far the one at `place` is from its home.
    fn distance(&self, seed: [u64; 2], place: usize) -> usize {
        let home = self.home(hash(seed, &self.ids[place]));
        if place >= home { place - home } else { place + self.ids.len() - home }
    }

    fn find(&self, seed: [u64; 2], id: &[u8; 16], hash: u64) -> Option<usize> {
        if self.used == 0 || *id == [0; 16] {
            return None;
        }
        let (mut place, mut distance) = (self.home(hash), 0);
        loop {
            let there = &self.ids[place];
            if there == id {
                return Some(place);
            }
            // A place is always free somewhere; and nobody is passed by one who is nearer to home.
            if *there == [0; 16] || self.distance(seed, place) < distance {
                return None;
            }
            (place, distance) = (self.after(place), distance + 1);
        }
    }

    fn insert(&mut self, seed: [u64; 2], id: [u8; 16], minute: u16) {
        if let Some(place) = self.find(seed, &id, hash(seed, &id)) {
            let kept = &mut self.minutes[place];
            *kept = if is_before(*kept, minute) { minute } else { *kept };
            return;
        }
        if (self.used + 1) * LOAD_MAX.1 > self.ids.len() * LOAD_MAX.0 {
            self.rebuild(seed, room_for(self.used), |_| true);
        }
        self.place(seed, id, minute);
    }

    /// Puts in an id that is not there yet, where there is room.
    fn place(&mut self, seed: [u64; 2], mut id: [u8; 16], mut minute: u16) {
        let (mut place, mut distance) = (self.home(hash(seed, &id)), 0);
        while self.ids[place] != [0; 16] {
            let theirs = self.distance(seed, place);
            if theirs < distance {
                std::mem::swap(&mut id, &mut self.ids[place]);
                std::mem::swap(&mut minute, &mut self.minutes[place]);
                distance = theirs;
            }
            (place, distance) = (self.after(place), distance + 1);
        }
        (self.ids[place], self.minutes[place]) = (id, minute);
        self.used += 1;
    }

    fn forget_before(&mut self, seed: [u64; 2], before: u16) {
        let stays = |minute: u16| !is_before(minute, before);
        let left = self.entries().filter(|(_, minute)| stays(*minute)).count();
        if left < self.used {
            let room = if left == 0 { 0 } else { room_for(left) };
            self.rebuild(seed, room, stays);
        }
    }

    fn rebuild(&mut self, seed: [u64; 2], room: usize, stays: impl Fn(u16) -> bool) {
        let old = std::mem::replace(self, Self::with_room(room));
        for (id, minute) in old.entries().filter(|(_, minute)| stays(*minute)) {
            self.place(seed, id, minute);
        }
    }

    fn entries(&self) -> impl Iterator<Item = ([u8; 16], u16)> {
        let all = self.ids.iter().copied().zip(self.minutes.iter().copied());
        all.filter(|(id, _)| *id != [0; 16])
    }
}

/// The room of a table that holds so many and was just full.
fn room_for(used: usize) -> usize {
    let room = used * LOAD_MAX.1 * GROWTH.0 / (LOAD_MAX.0 * GROWTH.1);
    (room + 1).max(ROOM_MIN)
}

fn is_before(minute: u16, other: u16) -> bool {
    let ahead = other.wrapping_sub(minute);
    ahead != 0 && ahead < 1 << 15
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn id(n: u16) -> EntryId {
        let mut bytes = [7; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        EntryId::from_bytes(bytes)
    }

    proptest! {
        /// Against a map, over random histories in which the clock moves on, around the wrap of the minutes too.
        #[test]
        fn it_is_a_set_that_forgets_by_age(
            start in prop_oneof![Just(0_i64), Just(65_535 * 60), Just(29_000_000 * 60)],
            acts in prop::collection::vec((0_u16..600, 0_i64..200, any::<bool>()), 1..600),
        ) {
            let (mut set, mut map) = (Ended::default(), HashMap::new());
            let mut now = Time::from_secs(start);
            for (n, secs, forget) in acts {
                now = now + Duration::from_secs(u64::try_from(secs).unwrap());
                set.insert(id(n), now);
                map.insert(n, now.secs() / 60);
                if forget {
                    let before = now - Duration::from_secs(3600);
                    set.forget_before(before);
                    map.retain(|_, minute| *minute >= before.secs().div_euclid(60));
                }
                prop_assert_eq!(set.len(), map.len());
            }
            for n in 0..600 {
                prop_assert_eq!(set.contains(id(n)), map.contains_key(&n), "{}", n);
            }
        }
    }

    #[test]
    fn many_fit_in_little_room() {
        let mut set = Ended::default();
        for n in 0..100_000_u128 {
            let bytes =
                (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
            set.insert(EntryId::from_bytes(bytes), Time::from_secs(60));
        }
        let room: usize = set.shards.iter().map(|shard| shard.ids.capacity() * 18).sum();
        assert_eq!(set.len(), 100_000);
        assert!(room < 100_000 * 24, "{room} bytes");
        set.forget_before(Time::from_secs(600));
        assert!(set.is_empty() && set.shards.iter().all(|shard| shard.ids.capacity() == 0));
    }

    #[test]
    fn nothing_has_the_id_of_zeros() {
        let mut set = Ended::default();
        set.insert(EntryId::from_bytes([0; 16]), Time::from_secs(60));
        assert!(set.is_empty() && !set.contains(EntryId::from_bytes([0; 16])));
    }

    #[test]
    fn sweeping_part_by_part_comes_round() {
        let mut set = Ended::default();
        (0..1000).for_each(|n| set.insert(id(n), Time::from_secs(60)));
        (0..SHARDS).for_each(|_| set.forget_some_before(Time::from_secs(3600)));
        assert!(set.is_empty());
    }
}
