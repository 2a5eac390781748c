//! Argon2id's cost parameters and the PHC string in which a hash rests.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use symbolon_core::secret::SecretText;
use zeroize::Zeroizing;

/// What one run of Argon2id costs (RFC 9106, section 3.1). A value of this type is within the bounds below, so that no
/// row of the database and no line of the configuration can ask for all memory or all time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// The cost is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "Argon2id takes 1 to {lanes} lanes, 8 KiB per lane to {memory} KiB of memory, 1 to {passes} passes",
    lanes = Cost::LANES_MAX, memory = Cost::MEMORY_KIB_MAX, passes = Cost::PASSES_MAX
)]
pub struct InvalidCost;

impl Cost {
    /// The most memory of one run, in KiB: 1 GiB.
    pub const MEMORY_KIB_MAX: u32 = 1 << 20;
    /// The most passes over the memory.
    pub const PASSES_MAX: u32 = 64;
    /// The most lanes.
    pub const LANES_MAX: u32 = 64;

    /// 19 MiB, two passes, one lane: the minimum that OWASP names, some 14 ms on one core.
    pub const DEFAULT: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

    /// Memory in KiB, passes over it (*t*), and lanes (*p*).
    pub const fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, InvalidCost> {
        let valid = lanes >= 1
            && lanes <= Self::LANES_MAX
            && memory_kib >= 8 * lanes
            && memory_kib <= Self::MEMORY_KIB_MAX
            && passes >= 1
            && passes <= Self::PASSES_MAX;
        if valid { Ok(Self { memory_kib, passes, lanes }) } else { Err(InvalidCost) }
    }

    /// The memory of one run, in KiB, which is also its number of blocks.
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// What time goes with: blocks that are computed. Lanes do not count, they are computed one after the other.
    pub const fn blocks(&self) -> u64 {
        self.memory_kib as u64 * self.passes as u64
    }

    /// A run that costs what this one costs more than `cheaper`, with no more memory than this; none if that is next to
    /// nothing.
    pub fn beyond(&self, cheaper: &Self) -> Option<Self> {
        let missing = self.blocks().saturating_sub(cheaper.blocks());
        let passes = missing.div_ceil(u64::from(self.memory_kib)).max(1);
        let memory_kib = u32::try_from(missing / passes).ok()?;
        Self::new(memory_kib, u32::try_from(passes).ok()?, 1).ok()
    }

    /// The same for the crate that computes it.
    pub(super) fn params(&self, output_bytes: usize) -> argon2::Result<argon2::Params> {
        argon2::Params::new(self.memory_kib, self.passes, self.lanes, Some(output_bytes))
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A hash at rest: `$argon2id$v=19$m=19456,t=2,p=1$salt$output`, salt and output in unpadded base64.
///
/// Only Argon2id, version 19, with exactly these parameters in this order; 8 to 64 bytes of salt, 16 to 64 of output.
#[derive(Clone, PartialEq, Eq)]
pub struct PhcString {
    pub(super) cost: Cost,
    pub(super) salt: Vec<u8>,
    pub(super) output: Zeroizing<Vec<u8>>,
}

/// The text is no hash that this server would make or check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a PHC string of Argon2id version 19 within bounds")]
pub struct InvalidPhcString;

impl PhcString {
    const BYTES_MAX: usize = 256;

    /// What checking a password against it costs.
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// The text form, as the user's row keeps it.
    pub fn text(&self) -> SecretText {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let (salt, output) =
            (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(&*self.output));
        SecretText::new(format!(
            "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${output}"
        ))
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() > Self::BYTES_MAX {
            return None;
        }
        let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let mut cost = parts.next()?.split(',');
        let mut number = |name| cost.next()?.strip_prefix(name)?.parse().ok();
        let cost = Cost::new(number("m=")?, number("t=")?, number("p=")?).ok()?;
        let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let output = Zeroizing::new(STANDARD_NO_PAD.decode(parts.next()?).ok()?);
        let bounded = (8..=64).contains(&salt.len()) && (16..=64).contains(&output.len());
        let parsed = bounded.then_some(Self { cost, salt, output })?;
        // One value has one text: no `+2`, no `02`, nothing after the end.
        (parsed.text().expose() == text).then_some(parsed)
    }
}

impl FromStr for PhcString {
    type Err = InvalidPhcString;

    fn from_str(text: &str) -> Result<Self, InvalidPhcString> {
        Self::parse(text).ok_or(InvalidPhcString)
    }
}

impl fmt::Debug for PhcString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhcString").field("cost", &self.cost).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_text_of_a_bounded_hash_is_read() {
        let good =
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let parsed: PhcString = good.parse().unwrap();
        assert_eq!(parsed.text().expose(), good);
        assert_eq!(
            format!("{parsed:?}"),
            "PhcString { cost: Cost { memory_kib: 256, passes: 2, lanes: 1 }, .. }"
        );
        for (part, bad) in [
            ("argon2id", "argon2i"),
            ("argon2id", "argon2d"),
            ("v=19", "v=16"),
            ("$v=19", ""),
            ("m=256", "m=0256"),
            ("m=256", "m=+256"),
            ("m=256", "m=-256"),
            ("m=256", "m=7"),
            ("m=256", "m=1048577"),
            ("m=256", "m=4294967296"),
            ("m=256,t=2", "t=2,m=256"),
            ("t=2", "t=0"),
            ("t=2", "t=65"),
            ("p=1", "p=0"),
            ("p=1", "p=33"),
            ("p=1", "p=65"),
            ("p=1", "p=1,keyid=AA"),
            ("c29tZXNhbHQ", "c29tZXNhbHR"),
            ("c29tZXNhbHQ", "c29tZXNhbHQ="),
            ("c29tZXNhbHQ", "c29tZQ"),
            ("i/4", "i/4$"),
            ("i/4", "i/4 "),
            ("i/4", "i/5"),
            ("$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", ""),
            ("nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "nf65EOgL"),
            ("$argon2id", "argon2id"),
        ] {
            let text = good.replacen(part, bad, 1);
            assert_ne!(text, good);
            assert_eq!(text.parse::<PhcString>(), Err(InvalidPhcString), "{text}");
        }
        assert!("".parse::<PhcString>().is_err());
        assert!(good.repeat(1000).parse::<PhcString>().is_err());
    }

    #[test]
    fn the_rest_of_the_cost_is_spent_in_no_more_memory() {
        let cost = |m, t| Cost::new(m, t, 1).unwrap();
        for (dear, cheap) in [
            (cost(65536, 3), cost(19456, 2)),
            (cost(19456, 2), cost(19456, 1)),
            (cost(19456, 2), cost(8, 1)),
            (cost(1 << 20, 64), cost(8, 1)),
            (cost(4096, 10), cost(65536, 1 /* more memory, less of it */)),
            (cost(100, 1), cost(91, 1)),
        ] {
            let rest = dear.beyond(&cheap);
            let spent = rest.map_or(0, |rest| rest.blocks()) + cheap.blocks();
            assert!(rest.is_none_or(|rest| rest.memory_kib() <= dear.memory_kib()));
            assert!(spent.abs_diff(dear.blocks().max(cheap.blocks())) < 64, "{dear:?} {cheap:?}");
        }
        assert_eq!(cost(19456, 2).beyond(&cost(19456, 2)), None);
    }
}
