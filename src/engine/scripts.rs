//! The scripts. Each is an operation that is atomic in the engine. They use only the commands that
//! `docs/operations.md` lists for the engine's ACL.

use std::fmt::Write;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use redis::{Cmd, ToRedisArgs};

/// A script.
#[derive(Debug)]
pub(super) struct Script {
    source: &'static str,
    /// The name by which the engine knows it: the SHA-1 of its source in hexadecimal.
    hash: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        let mut hash = String::with_capacity(40);
        for byte in digest(&SHA1_FOR_LEGACY_USE_ONLY, source.as_bytes()).as_ref() {
            let _ = write!(hash, "{byte:02x}");
        }
        Self { source, hash }
    }

    /// Makes a call of the script.
    pub(super) fn call(&'static self, keys: &[String]) -> Call {
        Call { script: self, keys: keys.to_vec(), arguments: Vec::new() }
    }
}

/// A call of a script.
#[derive(Debug)]
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    /// Adds an argument.
    pub(super) fn with(mut self, argument: impl Argument) -> Self {
        self.arguments.push(argument.bytes());
        self
    }

    /// Returns the command that names the script by its hash.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    /// Returns the command with the whole script, for an engine that does not know it yet.
    pub(super) fn with_source(&self) -> Cmd {
        self.command("EVAL", self.script.source)
    }

    fn command(&self, command: &str, script: impl ToRedisArgs) -> Cmd {
        let mut command = redis::cmd(command);
        command.arg(script).arg(self.keys.len());
        for key in &self.keys {
            command.arg(key);
        }
        for argument in &self.arguments {
            command.arg(argument.as_slice());
        }
        command
    }
}

/// An argument of a script.
pub(super) trait Argument {
    fn bytes(self) -> Vec<u8>;
}

impl Argument for &[u8] {
    fn bytes(self) -> Vec<u8> {
        self.to_vec()
    }
}

impl Argument for &str {
    fn bytes(self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

impl Argument for u32 {
    fn bytes(self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

/// A duration is written in milliseconds.
impl Argument for std::time::Duration {
    fn bytes(self) -> Vec<u8> {
        self.as_millis().to_string().into_bytes()
    }
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!(concat!("scripts/", $file, ".lua"))));)*

        /// All scripts with their names.
        #[cfg(test)]
        pub(super) fn all() -> Vec<(&'static str, &'static Script)> {
            vec![$(($file, &*$name),)*]
        }
    };
}

scripts! {
    CLAIM = "claim";
    ASSERT = "assert";
    RELEASE = "release";
    SHORTEN = "shorten";
    FORGET_END = "forget_end";
    LOOK = "look";
    TOUCH = "touch";
    ADD_REVOCATIONS = "add_revocations";
    RESERVE = "reserve";
    SETTLE = "settle";
    GIVE_TURN = "give_turn";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_names_the_script_by_its_sha_1() {
        // From `printf 'return 1' | sha1sum`.
        assert_eq!(Script::new("return 1").hash, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        let call = GIVE_TURN.call(&[String::from("key")]).with("owner");
        let packed = String::from_utf8(call.by_hash().get_packed_command()).unwrap();
        let expected = format!(
            "*5\r\n$7\r\nEVALSHA\r\n$40\r\n{}\r\n$1\r\n1\r\n$3\r\nkey\r\n$5\r\nowner\r\n",
            GIVE_TURN.hash
        );
        assert_eq!(packed, expected);
    }

    #[test]
    fn scripts_use_only_the_commands_of_the_acl() {
        const ALLOWED: [&str; 14] = [
            "INFO", "TIME", "HGET", "HMGET", "HSET", "PEXPIRE", "EXISTS", "DEL", "GET", "SET", "PUBLISH",
            "XADD", "XRANGE", "XTRIM",
        ];
        for (name, script) in all() {
            for call in script.source.split("redis.call('").skip(1) {
                let command = call.split('\'').next().unwrap();
                assert!(ALLOWED.contains(&command), "{name} uses {command}");
            }
        }
    }
}
