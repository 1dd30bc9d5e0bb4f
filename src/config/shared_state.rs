//! `[shared_state]`: the state that the replicas of a fleet share through one Redis or Valkey server.

use std::time::Duration;

use crate::config::certificate_authorities::{Authorities, authorities};
use crate::config::engine_address::{EngineAddress, engine_address};
use crate::config::quoting::quote;
use crate::config::reader::{Item, Section, boolean};
use crate::config::seal_key::{SealKey, seal_keys};
use crate::config::secret::{Secret, secret};
use crate::config::values::duration::{duration, duration_with_reason};
use crate::config::values::plain_text;
use crate::config::values::size::size;

/// `[shared_state]`.
#[derive(Debug, Clone)]
pub struct SharedState {
    /// The place of the engine, which is the Redis or Valkey server.
    pub engine: EngineAddress,
    /// The user for the engine. `None` means the engine's user `default`.
    pub username: Option<String>,
    /// The password for the engine. `None` means that the connections do not authenticate.
    pub password: Option<Secret>,
    /// The authorities that certify the engine. `None` means the machine's authorities.
    pub ca: Option<Authorities>,
    /// If true, cleartext to other machines is allowed. The sentinels may name a server that the URL does not have, so
    /// whoever connects to that server must check this.
    pub allow_cleartext: bool,
    /// The keys from which the names and the keys of messages are derived. The first one names and seals, and all are
    /// understood. There is at least one.
    pub keys: Vec<SealKey>,
    /// The beginning of the names of all keys and channels, without the braces. It has only letters, digits, `-`, `_`
    /// and `.`.
    pub prefix: String,
    /// The longest time that a command waits for its answer.
    pub command_timeout: Duration,
    /// The number of copies of the engine that must have a claim before the provider is asked.
    pub wait_replicas: u32,
    /// For this time after a change of the primary, no refresh is granted.
    pub settle: Duration,
    /// The memory for results that other replicas sent, in bytes.
    pub replay_cache: u64,
}

impl SharedState {
    /// The time for which a claim of a refresh token is kept. Nobody presents the token again in this time.
    pub const CLAIM: Duration = Duration::from_secs(60);
}

/// The table for the checks that look at the whole file.
pub(super) struct ReadSharedState<'a> {
    pub(super) section: Section<'a>,
    /// The outer `None` means that a key is wrong and reported. The inner `None` means that the table is left out or
    /// empty, and that the replica shares nothing.
    #[expect(clippy::option_option, reason = "said above")]
    pub(super) state: Option<Option<SharedState>>,
}

/// Reads the table.
pub(super) fn shared_state<'a>(root: &Section<'a>) -> ReadSharedState<'a> {
    let section = root.section("shared_state");
    let state = read(&section);
    ReadSharedState { section, state }
}

#[expect(clippy::option_option, reason = "said at `ReadSharedState`")]
fn read(section: &Section<'_>) -> Option<Option<SharedState>> {
    const KEYS_HINT: &str =
        "write a list of secrets that all replicas have, such as `[{ env = \"SHARED_STATE_KEY\" }]`";
    let engine = section.optional("url", "all state is in memory, for one replica", engine_address);
    let keys = section.optional("keys", "required with `url`", |item| {
        let keys = seal_keys(item, KEYS_HINT)?;
        if keys.is_empty() { item.fault("the list is empty", KEYS_HINT) } else { Some(keys) }
    });
    let username = section.optional("username", "the engine's user `default`", username);
    let password = section.optional("password", "no authentication", secret);
    let ca = section.optional("ca", "the machine's authorities", authorities);
    let allow_cleartext = section.defaulted("allow_cleartext", "false", boolean);
    let prefix = section.defaulted("prefix", "\"portcullis\"", prefix);
    let command_timeout =
        section.defaulted("command_timeout", "\"250ms\"", |item| duration(item, "10ms", "5s"));
    let wait_replicas =
        section.defaulted("wait_replicas", "0", |item| u32::try_from(item.integer(0, 16)?).ok());
    let settle = section.defaulted("settle", "\"3s\"", |item| {
        duration_with_reason(
            item,
            "1s",
            "30s",
            "a new primary would grant refreshes before the replicas have told it which ones are under way",
        )
    });
    let replay_cache = section.defaulted("replay_cache", "\"64MiB\"", |item| size(item, "1MiB", "16GiB"));
    if section.is_empty() {
        return Some(None);
    }
    check_presence(section);
    let (engine, keys, ca, allow_cleartext) = (engine?, keys?, ca?, allow_cleartext?);
    let engine = engine?;
    check_protection(section, &engine, ca.is_some(), allow_cleartext);
    Some(Some(SharedState {
        engine,
        username: username?,
        password: password?,
        ca,
        allow_cleartext,
        keys: keys?,
        prefix: prefix?,
        command_timeout: command_timeout?,
        wait_replicas: wait_replicas?,
        settle: settle?,
        replay_cache: replay_cache?,
    }))
}

/// Reports keys that need each other and are left out.
fn check_presence(section: &Section<'_>) {
    if !section.has("url") {
        let _: Option<()> = section.fault_at(
            "url",
            "this key is missing: without it the replicas share nothing",
            "write the URL of the engine, such as `\"rediss://valkey.example.com:6379/0\"`, or remove the table",
        );
        return;
    }
    if !section.has("keys") {
        let _: Option<()> = section.fault_at(
            "keys",
            "this key is missing: nothing is put into the engine unsealed",
            "add `keys = [{ env = \"SHARED_STATE_KEY\" }]`, the same on all replicas; `openssl rand -base64 32` makes one",
        );
    }
    if section.has("username") && !section.has("password") {
        let _: Option<()> = section.fault_at(
            "username",
            "there is no `password` of this user, so the user would not be used",
            "add `password = { env = \"NAME\" }`, or remove this key",
        );
    }
}

/// Reports connections that strangers can read, and authorities of connections without TLS.
fn check_protection(section: &Section<'_>, engine: &EngineAddress, has_ca: bool, allow_cleartext: bool) {
    if engine.tls {
        return;
    }
    if has_ca {
        let _: Option<()> = section.fault_at(
            "ca",
            "the engine is reached without TLS",
            "write the scheme `rediss` in `url`, or remove this key",
        );
    }
    if !engine.leaves_this_machine() {
        return;
    }
    if allow_cleartext {
        section.warn_at(
            "allow_cleartext",
            "the engine's password crosses the network in clear, and others may change what is sent",
            "use the scheme `rediss` in `url`, and leave `allow_cleartext` out",
        );
        return;
    }
    let _: Option<()> = section.fault_at(
        "url",
        "this URL leads to another machine without TLS",
        "use the scheme `rediss`, or set `allow_cleartext = true` where the network itself is trusted",
    );
}

/// Reads the name of the engine's user. It has no spaces, as in the engine's own lists.
fn username(item: &Item<'_>) -> Option<String> {
    let name = plain_text(item)?;
    if name.contains(char::is_whitespace) {
        return item.fault(format!("{} has a space", quote(&name)), "write the name of a user of the engine");
    }
    Some(name)
}

/// Reads the prefix. Braces would move keys to other slots, and the wildcards of ACLs would match other keys.
fn prefix(item: &Item<'_>) -> Option<String> {
    const HINT: &str = "write 1 to 64 letters, digits, `-`, `_` or `.`";
    let text = item.text("a string", HINT)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(1..=64).contains(&text.len()) || !text.bytes().all(is_plain) {
        return item.fault(format!("{} is not a usable prefix", quote(text)), HINT);
    }
    Some(text.to_owned())
}
