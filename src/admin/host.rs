//! Checks the host name by which a caller addresses the admin listener. A page of another site can let its host name
//! point to this listener (DNS rebinding). The browser then takes both for one origin, so only the host name shows the
//! attack.

use std::net::IpAddr;

use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::syntax::authority::Authority;

/// The paths that are served under any name. Load balancers use any name, and the answers contain nothing worth
/// stealing.
const FOR_ANYBODY: [&str; 2] = ["/livez", "/readyz"];

const DETAIL: &str = "The admin listener is asked by an IP address, by `localhost`, or by a name that is listed in \
                      `server.admin_hosts`.";

/// Refuses a request with a host name that is not one of the listener's. `hosts` are the configured names, in lower
/// case.
pub(super) fn check(path: &str, host: Option<&[u8]>, hosts: &[String]) -> Result<(), Problem> {
    // Every browser sends a host name.
    let Some(host) = host else { return Ok(()) };
    if FOR_ANYBODY.contains(&path) || is_ours(host, hosts) {
        return Ok(());
    }
    Err(Problem { status: http::StatusCode::MISDIRECTED_REQUEST, ..Problem::new(Code::UnknownHost, DETAIL) })
}

/// Returns true for an address, for `localhost` and for a listed name. Nobody can make an address point elsewhere, and
/// `localhost` stays on the machine (RFC 6761 section 6.3).
fn is_ours(host: &[u8], hosts: &[String]) -> bool {
    let Some(authority) = Authority::parse(host) else { return false };
    let name = authority.name();
    name.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || hosts.iter().any(|host| host == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_listed_names() {
        let hosts = ["gateway-1".to_owned(), "2001:db8::1".to_owned()];
        let good = [
            "127.0.0.1",
            "10.0.0.1:9090",
            "[::1]",
            "[2001:db8::1]:9090",
            "localhost",
            "LOCALHOST.:1",
            "a.localhost",
            "Gateway-1:9090",
        ];
        for host in good {
            assert_eq!(check("/", Some(host.as_bytes()), &hosts), Ok(()), "{host}");
        }
        let bad = [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1.evil.example",
            "xlocalhost",
            "gateway-1.evil.example",
            "gateway-2",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "[evil.example]",
            "[127.0.0.1]",
            "[::1",
            "::1",
            "\u{e9}",
        ];
        for host in bad {
            let refusal = check("/metrics", Some(host.as_bytes()), &hosts).expect_err(host);
            assert_eq!(refusal.status.as_u16(), 421, "{host}");
            assert_eq!(check("/livez", Some(host.as_bytes()), &hosts), Ok(()), "{host}");
            assert_eq!(check("/readyz", Some(host.as_bytes()), &hosts), Ok(()), "{host}");
        }
        assert_eq!(check("/", None, &hosts), Ok(()));
    }
}
