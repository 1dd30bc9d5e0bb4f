//! Whom the admin listener answers: a page of another site whose host name has come to point here (DNS rebinding) is of one
//! origin with it for a browser, and gives itself away by that name alone.

use std::net::IpAddr;

use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::syntax::authority::Authority;

/// What is asked for by any name: load balancers do, and it tells nobody anything that is worth stealing.
const FOR_ANYBODY: [&str; 2] = ["/livez", "/readyz"];

const DETAIL: &str = "The admin listener is asked by an IP address, by `localhost`, or by a name that is listed in \
                      `server.admin_hosts`.";

/// Refuses a request that names the listener as nobody here does. `hosts`: as configured, in lower case.
pub(super) fn check(path: &str, host: Option<&[u8]>, hosts: &[String]) -> Result<(), Problem> {
    // No browser leaves it out.
    let Some(host) = host else { return Ok(()) };
    if FOR_ANYBODY.contains(&path) || is_ours(host, hosts) {
        return Ok(());
    }
    Err(Problem { status: http::StatusCode::MISDIRECTED_REQUEST, ..Problem::new(Code::UnknownHost, DETAIL) })
}

/// An address cannot be made to point elsewhere, and `localhost` stays on the machine (RFC 6761 section 6.3).
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
