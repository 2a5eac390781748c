//! `symbolon size`: what so many sessions take, by arithmetic from what was measured.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{Arguments, Exit, out};
use crate::app;

/// What is asked.
#[derive(Debug, Clone, Args)]
pub(super) struct Size {
    /// Live sessions
    #[arg(long)]
    sessions: u64,
    /// Logins per second, at the busiest time
    #[arg(long)]
    logins_per_second: f64,
    /// Services that follow the revocation log
    #[arg(long, default_value_t = 0)]
    services: u64,
    /// Refreshes per second [default: ten for each login]
    #[arg(long)]
    refreshes_per_second: Option<f64>,
    /// Sessions that are ended per second [default: one for each login]
    #[arg(long)]
    ends_per_second: Option<f64>,
    /// Users [default: as many as sessions]
    #[arg(long)]
    users: Option<u64>,
    /// Nodes on PostgreSQL; 0 means one server on SQLite
    #[arg(long, default_value_t = 3)]
    nodes: u64,
    /// Sessions of a hundred that are in use at the busiest time
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=100))]
    active_percent: u64,
}

/// Measured; where, stands in bench/README.md under "What sizes are reckoned with".
mod unit {
    /// Bytes of one row with its indexes, in PostgreSQL and in SQLite.
    pub(super) const SESSION: [f64; 2] = [990.0, 910.0];
    pub(super) const USER: [f64; 2] = [350.0, 240.0];
    pub(super) const ENTRY: [f64; 2] = [130.0, 60.0];
    pub(super) const AUDIT: [f64; 2] = [225.0, 110.0];
    /// Bytes of memory.
    pub(super) const NODE_IDLE: f64 = 25e6;
    pub(super) const CACHED_SESSION: f64 = 382.0;
    pub(super) const ENTRY_IN_MEMORY: f64 = 24.0;
    pub(super) const FOLLOWER: f64 = 43e3;
    /// Statements and commits of one act, loads included.
    pub(super) const LOGIN: [f64; 2] = [8.0, 1.0];
    pub(super) const REFRESH: [f64; 2] = [4.0, 1.0];
    pub(super) const END: [f64; 2] = [10.0, 1.0];
    /// Statements of writing when a session was seen (nobody waits for its commit), and of reading one anew.
    pub(super) const SEEN: f64 = 1.1;
    pub(super) const ANEW: f64 = 1.0;
    /// Of one node: each second, and for each end anywhere, its own included.
    pub(super) const NODE_SECOND: [f64; 2] = [30.0, 5.0];
    pub(super) const NODE_END: [f64; 2] = [6.0, 1.0];
    /// Seconds of one core.
    pub(super) const PASSWORD: f64 = 0.022;
    pub(super) const REQUEST: f64 = 110e-6;
    pub(super) const FOLLOWER_SECOND: f64 = 64e-6;
    /// How long the audit trail is kept.
    pub(super) const AUDIT_SECONDS: f64 = 400.0 * 86_400.0;
}

/// What one of each can do: taken for comparison, not measured. Measure yours.
mod room {
    pub(super) const COMMITS_PER_SECOND: [f64; 2] = [5_000.0, 9_000.0];
    pub(super) const STATEMENTS_PER_SECOND: f64 = 50_000.0;
    pub(super) const STORAGE_BYTES: f64 = 4e12;
    pub(super) const SESSION_TABLE_BYTES: f64 = 500e9;
    pub(super) const NODE_MEMORY_BYTES: f64 = 16e9;
    pub(super) const NODE_CORES: f64 = 8.0;
    pub(super) const LOG_ENTRIES: f64 = 10e6;
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// How much of what one machine has; what to do when that is not enough.
    part: Option<(f64, &'static str)>,
}

const fn figure(name: &'static str, value: f64, unit: &'static str) -> Figure {
    Figure { name, value, unit, part: None }
}

const fn bounded(
    name: &'static str,
    value: f64,
    unit: &'static str,
    room: f64,
    remedy: &'static str,
) -> Figure {
    Figure { name, value, unit, part: Some((value / room, remedy)) }
}

/// What follows from the configuration.
struct Spans {
    /// How long an entry of the log lives.
    entry_life: Duration,
    /// How long a node goes by what it has read of a session.
    known: Duration,
    /// How often it is written that a session in use was seen.
    seen: Duration,
}

impl Size {
    /// All figures.
    fn figures(&self, spans: &Spans) -> Vec<Figure> {
        let engine = usize::from(self.nodes == 0);
        let nodes = self.nodes.max(1) as f64;
        let (sessions, logins) = (self.sessions as f64, self.logins_per_second);
        let refreshes = self.refreshes_per_second.unwrap_or(logins * 10.0);
        let ends = self.ends_per_second.unwrap_or(logins);
        let log = ends * spans.entry_life.as_secs_f64();
        let stored = sessions * unit::SESSION[engine];
        let rest = self.users.unwrap_or(self.sessions) as f64 * unit::USER[engine];
        let log_stored = log * (unit::ENTRY[engine] + unit::SESSION[engine]);
        let audit = (logins + ends) * unit::AUDIT_SECONDS * unit::AUDIT[engine];
        let active = sessions * self.active_percent as f64 / 100.0;
        let followers = self.services as f64 / nodes;
        let memory = unit::NODE_IDLE
            + active * unit::CACHED_SESSION
            + log * unit::ENTRY_IN_MEMORY
            + followers * unit::FOLLOWER;
        // A node reads many ends at a time: it renews no faster than a hundred times a second.
        let woken = ends.min(100.0);
        let acts = |at: usize| {
            logins * unit::LOGIN[at]
                + refreshes * unit::REFRESH[at]
                + ends * unit::END[at]
                + nodes * (unit::NODE_SECOND[at] + woken * unit::NODE_END[at])
        };
        // At most: if every session in use meets every node within that time.
        let anew = active * nodes / spans.known.as_secs_f64();
        let seen = active / spans.seen.as_secs_f64();
        let statements = acts(0) + anew * unit::ANEW + seen * unit::SEEN;
        let passwords = logins * unit::PASSWORD;
        let requests = (logins + refreshes + ends) * unit::REQUEST
            + self.services as f64 * unit::FOLLOWER_SECOND;
        vec![
            bounded(
                "sessions, stored",
                stored,
                "bytes",
                room::SESSION_TABLE_BYTES,
                "split the table sessions by its id (PostgreSQL: hash partitions), or shorten lifetimes.session_idle",
            ),
            figure("users, stored", rest, "bytes"),
            figure("revocation log and tombstones, stored", log_stored, "bytes"),
            figure("audit trail of 400 days, stored", audit, "bytes"),
            bounded(
                "everything, stored",
                stored + rest + log_stored + audit,
                "bytes",
                room::STORAGE_BYTES,
                "a larger disk; move old rows of the audit trail elsewhere",
            ),
            bounded(
                "revocation log",
                log,
                "entries",
                room::LOG_ENTRIES,
                "shorten lifetimes.access_token: the log is as long as tokens live",
            ),
            bounded(
                "memory of a node",
                memory,
                "bytes",
                room::NODE_MEMORY_BYTES,
                "lower limits.live_sessions_max: what is not cached is read, and stays right",
            ),
            figure("sessions read anew by nodes", anew, "per second"),
            bounded(
                "statements of the store",
                statements,
                "per second",
                room::STATEMENTS_PER_SECOND,
                "a larger database server; longer lifetimes.access_token: fewer refreshes, and sessions are read anew as seldom",
            ),
            bounded(
                "commits of the store",
                acts(1),
                "per second",
                room::COMMITS_PER_SECOND[engine],
                "faster disks for the database's log; longer lifetimes.access_token for fewer refreshes",
            ),
            bounded(
                "cores for passwords, at each node",
                passwords / nodes,
                "cores",
                room::NODE_CORES,
                "more nodes; passkeys or longer sessions for fewer passwords",
            ),
            bounded(
                "cores for requests, at each node",
                requests / nodes,
                "cores",
                room::NODE_CORES,
                "more nodes; longer lifetimes.access_token for fewer refreshes",
            ),
            bounded(
                "followers of a node",
                followers,
                "followers",
                1_000.0,
                "more nodes, or one forward-auth for several services; raise revocation.followers_max",
            ),
        ]
    }
}

/// What is used up first.
fn bottleneck(figures: &[Figure]) -> Option<(&Figure, f64, &'static str)> {
    let bounded = figures.iter().filter_map(|it| it.part.map(|(part, what)| (it, part, what)));
    bounded.max_by(|one, other| one.1.total_cmp(&other.1))
}

/// Prints the table.
pub(super) fn run(arguments: &Arguments, size: &Size) -> Result<(), Exit> {
    let rates = [Some(size.logins_per_second), size.refreshes_per_second, size.ends_per_second];
    if rates.into_iter().flatten().any(|rate| !(0.0..=1e9).contains(&rate)) {
        let fix = "write a rate from 0 to 1000000000 per second";
        return Err(Exit::new(2, "invalid_rate", "a rate is no number of acts per second", fix));
    }
    let config = arguments.read_config(&[])?;
    let figures = size.figures(&Spans {
        entry_life: app::entry_life(&config),
        known: config.lifetimes.access_token,
        seen: config.lifetimes.session_idle / 16,
    });
    let rows: Vec<Value> = figures.iter().map(|figure| row(figure, arguments.json)).collect();
    let first = bottleneck(&figures).map_or_else(Value::default, |(figure, part, remedy)| {
        json!({ "first_bottleneck": figure.name, "used_percent": percent(part), "what_to_do": remedy })
    });
    if arguments.json {
        out::value(&json!({ "figures": rows, "first": first }), &[], true);
    } else {
        out::value(&rows.into(), &["what", "takes", "used_percent"], false);
        out::text("\n");
        out::value(&first, &[], false);
    }
    Ok(())
}

fn row(figure: &Figure, as_json: bool) -> Value {
    let used = figure.part.map(|(part, _)| percent(part));
    if as_json {
        let Figure { name, value, unit, .. } = figure;
        return json!({ "what": name, "value": value, "unit": unit, "used_percent": used });
    }
    let takes = match figure.unit {
        "bytes" => scaled(figure.value, "B"),
        unit => format!("{} {unit}", scaled(figure.value, "").trim_end()),
    };
    json!({ "what": figure.name, "takes": takes, "used_percent": used })
}

/// Of what one machine has, in hundredths.
fn percent(part: f64) -> u64 {
    // A float becomes the nearest integer that there is.
    (part * 100.0).ceil() as u64
}

/// Two or three digits and a prefix.
fn scaled(value: f64, unit: &str) -> String {
    let prefixes = ["", "k", "M", "G", "T", "P"];
    let (mut value, mut at) = (value, 0);
    while value >= 999.5 && at + 1 < prefixes.len() {
        value /= 1000.0;
        at += 1;
    }
    let digits = usize::from(value < 10.0 && (value * 10.0).round() % 10.0 != 0.0);
    format!("{value:.digits$} {}{unit}", prefixes[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPANS: Spans = Spans {
        entry_life: Duration::from_secs(390),
        known: Duration::from_secs(300),
        seen: Duration::from_secs(1800),
    };

    fn size(sessions: u64, logins_per_second: f64, services: u64) -> Size {
        Size {
            sessions,
            logins_per_second,
            services,
            refreshes_per_second: None,
            ends_per_second: None,
            users: None,
            nodes: 3,
            active_percent: 10,
        }
    }

    fn value(figures: &[Figure], name: &str) -> f64 {
        figures.iter().find(|figure| figure.name == name).unwrap().value
    }

    #[test]
    fn figures_follow_from_what_was_measured() {
        let figures = size(1_000_000, 10.0, 30).figures(&SPANS);
        for (name, expected) in [
            ("sessions, stored", 990e6),
            ("revocation log", 3_900.0),
            ("cores for passwords, at each node", 10.0 * unit::PASSWORD / 3.0),
            ("followers of a node", 10.0),
            ("sessions read anew by nodes", 1_000.0),
            // 10 logins, 100 refreshes, 10 ends, and three nodes that each hear of those; sessions read and seen.
            (
                "statements of the store",
                80.0 + 400.0 + 100.0 + 3.0 * (30.0 + 60.0) + 1_000.0 + 1.1 * 100_000.0 / 1_800.0,
            ),
        ] {
            assert!((value(&figures, name) - expected).abs() < 1e-6, "{name}: {figures:#?}");
        }
        let alone = Size { nodes: 0, ..size(1_000_000, 10.0, 30) }.figures(&SPANS);
        assert!(value(&alone, "everything, stored") < value(&figures, "everything, stored"));
    }

    #[test]
    fn more_never_takes_less() {
        let one = size(1_000, 1.0, 1).figures(&SPANS);
        let more = size(2_000, 2.0, 2).figures(&SPANS);
        assert!(one.iter().zip(&more).all(|(one, more)| one.value <= more.value));
    }

    #[test]
    fn nothing_is_an_answer_too() {
        let figures = size(0, 0.0, 0).figures(&SPANS);
        assert!(figures.iter().all(|figure| figure.value.is_finite()), "{figures:#?}");
        assert!(bottleneck(&figures).is_some());
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0 B"),
            (0.25, "0.2 B"),
            (999.0, "999 B"),
            (999.9, "1 kB"),
            (1_500.0, "1.5 kB"),
            (900e6, "900 MB"),
            (12.3e12, "12 TB"),
        ] {
            assert_eq!(scaled(value, "B"), text);
        }
    }
}
