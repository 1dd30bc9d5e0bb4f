//! `[server.limits]`.

use std::time::Duration;

use crate::config::reader::Section;
use crate::config::values::duration::duration;
use crate::config::values::size::size;

/// `[server.limits]`. Every limit has a default, and no limit can be 0.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest time for a whole request head from its first byte, and for the first byte of a new connection.
    pub header_timeout: Duration,
    /// The least number of bytes per second in an upload, averaged over 10 s.
    pub body_min_rate: u64,
    /// The time that a connection may stay idle between two requests.
    pub keep_alive_timeout: Duration,
    /// The largest size of a request head, in bytes. A larger one gets 431.
    pub max_header_size: usize,
    /// The largest number of connections at once. If there are more, a connection that waits for its next request is
    /// closed. If no connection waits, the new one is closed.
    pub max_connections: usize,
    /// The longest time for the whole body of a login.
    pub login_body_timeout: Duration,
    /// The largest size of the body of a login, in bytes. A larger one gets 413.
    pub max_login_body_size: usize,
    /// The largest number of verified tokens that are remembered, over all apps. It should exceed the number of live
    /// sessions.
    pub verified_tokens: usize,
    /// The largest number of logins of one user name that may wait for each other. Further logins get 429.
    pub max_waiting_logins: usize,
    /// The largest number of failed logins of one user name from one address. Further logins have to wait and get 429.
    pub failed_logins_per_name: u32,
    /// The largest number of failed logins from one address, over all user names.
    pub failed_logins_per_address: u32,
}

/// Reads the table.
pub(crate) fn limits(server: &Section<'_>) -> Option<Limits> {
    let section = server.section("limits");
    let time = |name, default| section.defaulted(name, default, |item| duration(item, "10ms", "1h"));
    let header_timeout = time("header_timeout", "\"10s\"");
    let keep_alive_timeout = time("keep_alive_timeout", "\"60s\"");
    let login_body_timeout = time("login_body_timeout", "\"10s\"");
    let body_min_rate = section.defaulted("body_min_rate", "\"256B\"", |item| size(item, "1B", "1GiB"));
    let bytes = |name, default, least, most| {
        section.defaulted(name, default, |item| usize::try_from(size(item, least, most)?).ok())
    };
    let max_header_size = bytes("max_header_size", "\"32KiB\"", "1KiB", "1MiB");
    let max_login_body_size = bytes("max_login_body_size", "\"16KiB\"", "64B", "1MiB");
    let count = |name, default, most| {
        section.defaulted(name, default, |item| usize::try_from(item.integer(1, most)?).ok())
    };
    let max_connections = count("max_connections", "20000", 1_000_000);
    let verified_tokens = count("verified_tokens", "65536", 10_000_000);
    let max_waiting_logins = count("max_waiting_logins", "8", 1000);
    let failed_logins_per_name = count("failed_logins_per_name", "20", 100_000);
    let failed_logins_per_address = count("failed_logins_per_address", "200", 100_000);
    Some(Limits {
        header_timeout: header_timeout?,
        body_min_rate: body_min_rate?,
        keep_alive_timeout: keep_alive_timeout?,
        max_header_size: max_header_size?,
        max_connections: max_connections?,
        login_body_timeout: login_body_timeout?,
        max_login_body_size: max_login_body_size?,
        verified_tokens: verified_tokens?,
        max_waiting_logins: max_waiting_logins?,
        failed_logins_per_name: u32::try_from(failed_logins_per_name?).ok()?,
        failed_logins_per_address: u32::try_from(failed_logins_per_address?).ok()?,
    })
}
