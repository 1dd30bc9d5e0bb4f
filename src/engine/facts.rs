//! The facts about the engine that operators see.

/// The oldest version with all that the scripts need.
const OLDEST: u32 = 7;

/// The facts about the engine, as of its last connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EngineFacts {
    /// The host and the port of the primary. Without credentials.
    pub(crate) address: String,
    /// `redis` or `valkey`. Empty if the engine was never reached.
    pub(crate) kind: String,
    pub(crate) version: String,
    /// `master` or `slave`, as the engine calls it.
    pub(crate) role: String,
    pub(crate) eviction_policy: String,
    /// The limit of its memory in bytes. 0 if it has none.
    pub(crate) maxmemory: u64,
    pub(crate) used_memory: u64,
    /// The number of other nodes that copy the primary now.
    pub(crate) connected_nodes: u32,
    /// Tells what an operator must change. The engine may work all the same.
    pub(crate) complaint: Option<String>,
}

impl EngineFacts {
    /// Reads the answer to INFO.
    pub(super) fn of_info(address: &str, info: &str) -> Self {
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.unwrap_or_default().trim().to_owned()
        };
        let number = |name: &str| field(name).parse().unwrap_or_default();
        let valkey = field("valkey_version");
        let (kind, version) =
            if valkey.is_empty() { ("redis", field("redis_version")) } else { ("valkey", valkey) };
        let online = |line: &&str| line.starts_with("slave") && line.contains("state=online");
        Self {
            address: address.to_owned(),
            kind: kind.to_owned(),
            version,
            role: field("role"),
            eviction_policy: field("maxmemory_policy"),
            maxmemory: number("maxmemory"),
            used_memory: number("used_memory"),
            connected_nodes: u32::try_from(info.lines().filter(online).count()).unwrap_or(u32::MAX),
            complaint: None,
        }
    }

    /// Refuses an engine that lacks what the scripts need, and says why.
    pub(super) fn check_version(&self) -> Result<(), String> {
        let major = self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        if major >= OLDEST {
            return Ok(());
        }
        Err(format!("its version is {:?}: use Redis 7.0 or later, or Valkey", self.version))
    }

    /// Returns what an operator must change.
    pub(super) fn check_settings(&self, wait_replicas: u32) -> Option<String> {
        if self.maxmemory > 0 && self.eviction_policy != "noeviction" {
            return Some(format!(
                "its `maxmemory-policy` is `{}`: a claim may be evicted, and then a session may be lost. Set it to \
                 `noeviction`",
                self.eviction_policy
            ));
        }
        if self.connected_nodes < wait_replicas {
            return Some(format!(
                "{} other nodes copy the primary, and `wait_replicas` is {wait_replicas}: no session can be refreshed",
                self.connected_nodes
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIS: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n# Memory\r\nused_memory:1024\r\n\
                         used_memory_human:1K\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n# Replication\r\n\
                         role:master\r\nconnected_slaves:2\r\n\
                         slave0:ip=127.0.0.1,port=1,state=online,offset=1,lag=0\r\n\
                         slave1:ip=127.0.0.1,port=2,state=wait_bgsave,offset=0,lag=0\r\n";

    #[test]
    fn facts_come_from_info() {
        let facts = EngineFacts::of_info("h:1", REDIS);
        let expected = EngineFacts {
            address: String::from("h:1"),
            kind: String::from("redis"),
            version: String::from("7.0.15"),
            role: String::from("master"),
            eviction_policy: String::from("allkeys-lru"),
            maxmemory: 0,
            used_memory: 1024,
            connected_nodes: 1,
            complaint: None,
        };
        assert_eq!(facts, expected);
        let valkey = EngineFacts::of_info("h:1", "redis_version:7.2.4\r\nvalkey_version:8.0.1\r\n");
        assert_eq!((valkey.kind.as_str(), valkey.version.as_str()), ("valkey", "8.0.1"));
    }

    #[test]
    fn what_an_engine_must_be_like() {
        let facts = EngineFacts::of_info("h:1", REDIS);
        assert_eq!(facts.check_version(), Ok(()));
        let old = EngineFacts { version: String::from("6.2.1"), ..facts.clone() };
        assert!(old.check_version().unwrap_err().contains("7.0"));
        assert_eq!(facts.check_settings(1), None, "without a limit nothing is evicted");
        assert!(facts.check_settings(2).unwrap().contains("wait_replicas"));
        let limited = EngineFacts { maxmemory: 1, ..facts };
        assert!(limited.check_settings(0).unwrap().contains("noeviction"));
    }
}
