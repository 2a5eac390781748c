//! What is looked at when a store is opened: whether the server lets us do what we will do, and whether it keeps what
//! it answers.

use std::collections::HashMap;

use redis::{Cmd, FromRedisValue, InfoDict, cmd};
use symbolon_core::time::Time;

use super::{Redis, trouble::Trouble};

impl Redis {
    /// Tries what every script does, on a key of its own.
    pub(super) async fn check_rights(&self) -> Result<(), Trouble> {
        let replication = self.info("replication").await?;
        if replication.get("role").is_some_and(|role| role == "slave") {
            return Err(Trouble::ReadOnly("role:slave".to_owned()));
        }
        let server = self.info("server").await?;
        if let Some(version) = server.get("redis_version")
            && is_too_old(version)
        {
            return Err(Trouble::TooOld(version.clone()));
        }
        let cluster = self.info("cluster").await?;
        if !self.0.is_cluster && cluster.get("cluster_enabled").is_some_and(|on| on == "1") {
            return Err(Trouble::Clustered);
        }
        match self.run(&self.0.scripts.probe, Time::from_millis(0), |_| {}).await {
            // What is there can still be read and ended.
            Err(trouble @ (Trouble::Full(_) | Trouble::NoWrites(_))) => {
                tracing::warn!(cause = %trouble, "no session can be opened now");
                Ok(())
            }
            probed => probed.map(drop),
        }
    }

    /// Warns of settings that break promises.
    pub(super) async fn check_settings(&self) -> Result<(), Trouble> {
        let settings = self.settings().await?;
        for warning in warnings(&settings) {
            tracing::warn!(store = self.0.tag, "{warning}");
        }
        Ok(())
    }

    /// What the server tells of itself.
    async fn settings(&self) -> Result<HashMap<String, String>, Trouble> {
        let mut found = HashMap::new();
        for section in ["persistence", "memory", "replication"] {
            found.extend(self.info(section).await?);
        }
        for name in ["appendfsync", "min-replicas-to-write"] {
            let mut get = cmd("CONFIG");
            get.arg("GET").arg(name);
            found.extend(self.tells::<HashMap<String, String>>(get).await?.unwrap_or_default());
        }
        Ok(found)
    }

    async fn info(&self, section: &str) -> Result<HashMap<String, String>, Trouble> {
        let mut info = cmd("INFO");
        info.arg(section);
        let Some(info) = self.tells::<InfoDict>(info).await? else { return Ok(HashMap::new()) };
        let value = |name: &&str| Some(((*name).to_owned(), info.get::<String>(name)?));
        Ok(ASKED.iter().filter_map(value).collect())
    }

    /// What the server answers, if we may ask; many that others run do not let us.
    async fn tells<T: FromRedisValue>(&self, command: Cmd) -> Result<Option<T>, Trouble> {
        let tag = &self.0.tag;
        let ask = self.0.link.ask(async |connection| connection.ask_owner(command, tag).await);
        match ask.await {
            Ok(answer) => Ok(Some(answer)),
            Err(Trouble::Forbidden(_) | Trouble::Unexpected(_)) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }
}

const ASKED: [&str; 7] = [
    "role",
    "redis_version",
    "aof_enabled",
    "maxmemory",
    "maxmemory_policy",
    "connected_slaves",
    "cluster_enabled",
];

fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (6, 2)
}

/// What the settings mean, where that is less than the store promises.
fn warnings(settings: &HashMap<String, String>) -> Vec<&'static str> {
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|is| is == value);
    let has = |name: &str| settings.contains_key(name);
    let evicts =
        has("maxmemory_policy") && !is("maxmemory_policy", "noeviction") && !is("maxmemory", "0");
    let has_replicas = has("connected_slaves") && !is("connected_slaves", "0");
    let checks = [
        (
            evicts,
            "maxmemory-policy is not noeviction: when memory runs out the server throws away sessions of people who \
             are logged in",
        ),
        (
            is("aof_enabled", "0"),
            "appendonly is off: a server that dies loses everything since its last snapshot, and sessions that were \
             ended since then are live again",
        ),
        (
            is("aof_enabled", "1") && is("appendfsync", "no"),
            "appendfsync is no: at a power failure the server loses up to half a minute, and sessions that were \
             ended in it are live again",
        ),
        (
            has_replicas && is("min-replicas-to-write", "0"),
            "min-replicas-to-write is 0: a primary that was cut off from its replicas goes on answering, and all of \
             that is lost when one of them has taken over",
        ),
        (
            !has("appendfsync") || !has("maxmemory_policy"),
            "not all settings of the server can be read, so whether it keeps what it answers is not known",
        ),
    ];
    checks.into_iter().filter_map(|(is, warning)| is.then_some(warning)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_settings_are_named() {
        let check = |changed: &[(&str, &str)], expected: &[&str]| {
            let safe = [
                ("maxmemory_policy", "noeviction"),
                ("maxmemory", "1000000"),
                ("aof_enabled", "1"),
                ("appendfsync", "everysec"),
                ("connected_slaves", "0"),
                ("min-replicas-to-write", "0"),
            ];
            let all = safe.iter().chain(changed).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            let warned = warnings(&all.collect());
            let first: Vec<_> =
                warned.iter().map(|text| text.split([' ', ':']).next().unwrap()).collect();
            assert_eq!(first, expected, "{changed:?}");
        };
        check(&[], &[]);
        check(&[("maxmemory_policy", "allkeys-lru")], &["maxmemory-policy"]);
        check(&[("maxmemory_policy", "volatile-ttl")], &["maxmemory-policy"]);
        check(&[("maxmemory_policy", "allkeys-lru"), ("maxmemory", "0")], &[]);
        check(&[("aof_enabled", "0"), ("appendfsync", "no")], &["appendonly"]);
        check(&[("appendfsync", "no")], &["appendfsync"]);
        check(&[("connected_slaves", "2")], &["min-replicas-to-write"]);
        check(&[("connected_slaves", "2"), ("min-replicas-to-write", "1")], &[]);
        assert_eq!(warnings(&HashMap::new()).len(), 1);
        for (version, old) in [("6.0.16", true), ("6.2.0", false), ("7.0.15", false), ("5", true)] {
            assert_eq!(is_too_old(version), old, "{version}");
        }
    }
}
