//! `proxy` and `proxy_credentials` of `[identity_providers.*]`: the HTTP proxy between the gateway and a provider. This
//! file also decides whether plain http is allowed.

use url::Url;

use crate::config::reader::{Item, Section};
use crate::config::secret::{Secret, secret};
use crate::config::values::url::{http, is_confidential, is_on_this_machine};

/// An HTTP proxy for every call to a provider (RFC 9110 sections 3.7 and 9.3.6).
#[derive(Debug, Clone)]
pub struct OutgoingProxy {
    /// The scheme, host and port.
    pub url: Url,
    /// The credentials for `Proxy-Authorization` (RFC 7617). `None` means that the proxy needs no authentication.
    pub credentials: Option<ProxyCredentials>,
}

/// The user name and password for a proxy.
#[derive(Debug, Clone)]
pub struct ProxyCredentials {
    /// The user name, without a colon.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// The machines that may be asked over plain http.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    /// Every machine, as `allow_insecure_http` permits.
    Anybody,
    /// Only this machine.
    ThisMachine,
    /// No machine. Requests to this machine would go to a proxy on another machine.
    Nobody,
}

impl PlainHttp {
    /// Returns the machines that the settings permit.
    pub fn new(allow_insecure_http: bool, proxy: Option<&Url>) -> Self {
        match proxy {
            _ if allow_insecure_http => Self::Anybody,
            Some(proxy) if !is_on_this_machine(proxy) => Self::Nobody,
            _ => Self::ThisMachine,
        }
    }

    /// Returns true if secrets may be sent to this `http` or `https` URL.
    pub fn permits(self, url: &Url) -> bool {
        url.scheme() == "https"
            || match self {
                Self::Anybody => true,
                Self::ThisMachine => is_on_this_machine(url),
                Self::Nobody => false,
            }
    }
}

/// Reads both keys. An outer `None` means that a key is wrong and reported. An inner `None` means that there is no
/// proxy.
#[expect(clippy::option_option, reason = "said above")]
pub(super) fn outgoing_proxy(section: &Section<'_>) -> Option<Option<OutgoingProxy>> {
    let url = section.optional("proxy", "no proxy", proxy);
    let credentials = section.optional("proxy_credentials", "none are sent", proxy_credentials);
    let (url, credentials) = (url?, credentials?);
    let Some(url) = url else {
        if section.has("proxy_credentials") {
            return section.fault_at(
                "proxy_credentials",
                "there is no `proxy` that they are for",
                "add `proxy`, such as `\"http://proxy.example.com:3128\"`, or remove this key",
            );
        }
        return Some(None);
    };
    if credentials.is_some() && !is_confidential(&url) {
        section.warn_at(
            "proxy_credentials",
            "they are sent without TLS to another machine",
            "use an `https` URL as `proxy`, if it has one; else trust the network in between, and give them no other rights",
        );
    }
    Some(Some(OutgoingProxy { url, credentials }))
}

fn proxy(item: &Item<'_>) -> Option<Url> {
    const HINT: &str = "write scheme, host and port alone, such as `\"http://proxy.example.com:3128\"`; user name and password \
                        belong into `proxy_credentials`";
    let url = http(item, HINT)?;
    if url.path() != "/" || url.query().is_some() {
        return item.fault("a proxy has no path and no query", HINT);
    }
    if url.port() == Some(0) {
        return item.fault("a proxy cannot have port 0", HINT);
    }
    Some(url)
}

/// Reads `user:password`, as in `Proxy-Authorization: Basic` (RFC 7617 section 2).
fn proxy_credentials(item: &Item<'_>) -> Option<ProxyCredentials> {
    let text = secret(item)?;
    match text.expose().split_once(':') {
        Some((username, password)) if !username.is_empty() => {
            Some(ProxyCredentials { username: username.to_owned(), password: Secret::new(password) })
        }
        // The text is not shown, because it may be the password.
        _ => item.fault(
            "the secret is not a user name, a colon and a password",
            "write `user:password` into the secret",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine_or_is_permitted() {
        let (here, there) = ("http://127.0.0.1:3128", "http://proxy.example.com:3128");
        let (local, remote, secure) =
            ("http://localhost:9000/t", "http://id.example.com/t", "https://id.example.com/t");
        for (allowed, proxy, url, expected) in [
            (false, None, local, true),
            (false, None, remote, false),
            (false, Some(here), local, true),
            (false, Some(here), remote, false),
            (false, Some(there), local, false),
            (false, Some("https://proxy.example.com"), local, false),
            (false, Some(there), remote, false),
            (true, Some(there), local, true),
            (true, Some(there), remote, true),
            (true, None, remote, true),
            (false, None, secure, true),
            (false, Some(there), secure, true),
        ] {
            let proxy: Option<Url> = proxy.map(|url| url.parse().unwrap());
            let permitted = PlainHttp::new(allowed, proxy.as_ref()).permits(&url.parse().unwrap());
            assert_eq!(permitted, expected, "{allowed} {proxy:?} {url}");
        }
    }
}
