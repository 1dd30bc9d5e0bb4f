//! The reasons why a connection to an app or an identity provider fails, with advice. There is one table, since both
//! fail alike.
//!
//! It matches the texts of the libraries' errors, since one library passes on nothing except a text. Tests with real
//! sockets check that the texts are still the same.

use std::fmt;

use crate::syntax::log_text::escaped;
use crate::system::explained::Explained;

/// The largest number of characters in a detail.
const MAX_DETAIL: usize = 200;

/// The side that cannot be reached. The advice names different keys for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// An identity provider.
    IdentityProvider,
    /// An app.
    App,
}

/// The reason why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreachable {
    what: &'static str,
    /// Further facts, such as the names of a certificate. They are not yet fit for a log.
    detail: String,
    hint: &'static str,
}

/// The words of a library, their meaning, and the advice for a provider and for an app.
struct Row {
    says: &'static [&'static str],
    means: &'static str,
    at_provider: &'static str,
    at_app: &'static str,
}

const fn row(says: &'static [&'static str], means: &'static str, hints: [&'static str; 2]) -> Row {
    Row { says, means, at_provider: hints[0], at_app: hints[1] }
}

/// The first row that fits counts.
const TABLE: &[Row] = &[
    row(
        &["UnknownIssuer"],
        "TLS: its certificate is of an authority that is not trusted here",
        [
            "set the provider's `ca` to a PEM file with that authority's certificate",
            "set the app's `upstream_tls.ca` to a PEM file with that authority's certificate",
        ],
    ),
    row(
        // The key of that authority may also be of another kind, for example RSA instead of an elliptic curve.
        &["certificate: BadSignature", "certificate: UnsupportedSignatureAlgorithmForPublicKey"],
        "TLS: its certificate was signed by another authority of the same name",
        [
            "set the provider's `ca` to the certificate of the authority that signs now",
            "set the app's `upstream_tls.ca` to the certificate of the authority that signs now",
        ],
    ),
    row(
        &["CaUsedAsEndEntity"],
        "TLS: its certificate is an authority's own (CA:TRUE), which no server may show",
        [
            "let it show one that this authority has signed (CA:FALSE), and set the provider's `ca` to the authority's",
            "let it show one that this authority has signed (CA:FALSE), and set `upstream_tls.ca` to the authority's",
        ],
    ),
    row(
        &["certificate expired", "certificate: Expired"],
        "TLS: its certificate has expired",
        [
            "renew it there, or correct this machine's clock",
            "renew it there, or correct this machine's clock",
        ],
    ),
    row(
        &["certificate not valid yet", "certificate: NotValidYet"],
        "TLS: its certificate is not valid yet",
        ["correct the clock, here or where it was made", "correct the clock, here or where it was made"],
    ),
    row(
        &["not valid for name", "NotValidForName"],
        "TLS: its certificate is for other names",
        [
            "write a name that it is for into `issuer` or the endpoint's URL, or let the certificate have this one",
            "set the app's `upstream_tls.server_name` to a name that it is for",
        ],
    ),
    row(
        &["invalid peer certificate"],
        "TLS: its certificate is not acceptable",
        [
            "look at the certificate: `openssl s_client -connect HOST:PORT -showcerts`",
            "look at the certificate: `openssl s_client -connect HOST:PORT -showcerts`",
        ],
    ),
    row(
        &["InvalidContentType", "corrupt message", "InvalidMessage"],
        "it does not speak TLS at that port",
        [
            "write `http://`, or the port where it speaks https",
            "write `http://`, or the port where it speaks https",
        ],
    ),
    row(
        &["alert: UnrecognisedName", "alert: UnrecognizedName"],
        "TLS: it has no certificate for the name that it was asked for",
        [
            "write a name that it knows into `issuer` or the endpoint's URL",
            "set the app's `upstream_tls.server_name` to a name that it knows",
        ],
    ),
    row(
        &["alert: CertificateRequired", "alert: BadCertificate", "alert: CertificateUnknown"],
        "TLS: it wants a certificate of the client, which Portcullis does not have",
        ["let it do without for this client", "let it do without for this client"],
    ),
    row(
        &["alert: ", "peer is incompatible", "peer misbehaved"],
        "TLS: no agreement with it",
        ["let it speak TLS 1.2 or 1.3", "let it speak TLS 1.2 or 1.3"],
    ),
    row(
        &["failed to lookup address", "dns error", "Name or service not known", "no address"],
        "its name cannot be resolved",
        [
            "correct the host in `issuer` or the endpoint's URL, or look at the DNS of this machine",
            "correct the host in `upstreams`, or look at the DNS of this machine",
        ],
    ),
    row(
        &["Connection refused", "ConnectRefused"],
        "connection refused: nothing listens at that port",
        [
            "start the provider, or correct host and port of `issuer` or the endpoint (in a container `localhost` is the container)",
            "start the app, or correct host and port in `upstreams` (in a container `localhost` is the container)",
        ],
    ),
    row(
        &["Network is unreachable", "No route to host", "ConnectNoRoute"],
        "there is no route to it",
        ["look at address, network and firewall", "look at address, network and firewall"],
    ),
    row(
        &["timed out", "Timedout", "deadline has elapsed"],
        "no connection in time: nobody answered",
        [
            "look at address, firewalls and whether TLS is spoken there, or raise the provider's `connect_timeout`",
            "look at address, firewalls and whether TLS is spoken there, or raise the app's `timeouts.connect`",
        ],
    ),
    row(
        &["handshake eof", "peer closed connection without sending TLS close_notify"],
        "it closes the connection during the TLS handshake",
        [
            "write `http://`, or the port where it speaks https",
            "write `http://`, or the port where it speaks https",
        ],
    ),
    row(
        &["invalid HTTP version", "invalid HTTP"],
        "it does not answer in HTTP",
        ["is that a port for https? write `https://`", "is that a port for https? write `https://`"],
    ),
    row(
        &["connection closed before message completed", "Connection reset", "connection error"],
        "it closed the connection without an answer",
        [
            "look at the provider's log; or is that a port for https? write `https://`",
            "look at the app's log; or is that a port for https? write `https://`",
        ],
    ),
];

impl Unreachable {
    /// Returns the meaning of an error, from its words and those of its causes. Returns `None` for an unknown error.
    pub(crate) fn of(text: &str, side: Side) -> Option<Self> {
        let row = TABLE.iter().find(|row| row.says.iter().any(|words| text.contains(words)))?;
        let hint = match side {
            Side::IdentityProvider => row.at_provider,
            Side::App => row.at_app,
        };
        let from = |start: &str| text.find(start).and_then(|at| text.get(at..));
        let detail = from("certificate not valid")
            .or_else(|| from("certificate expired"))
            .or_else(|| from("fatal alert"));
        let detail = detail.or_else(|| from("invalid peer certificate: ")).unwrap_or_default();
        // Words of Pingora's own follow.
        let detail = detail.split(", SNI: ").next().unwrap_or_default();
        Some(Self { what: row.means, detail: shown(detail), hint })
    }

    /// Returns the reason in words, with the advice.
    pub(crate) fn explained(&self) -> Explained {
        Explained { text: self.to_string(), hint: Some(self.hint) }
    }

    /// Returns the advice.
    pub(crate) fn hint(&self) -> &'static str {
        self.hint
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => formatter.write_str(self.what),
            detail => write!(formatter, "{} ({detail})", self.what),
        }
    }
}

/// Makes a text short and harmless, because the owner of a certificate can choose any names.
fn shown(text: &str) -> String {
    escaped(text, MAX_DETAIL).replace("\\\"", "\"").replace("\\'", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_words_and_both_hints() {
        for row in TABLE {
            assert!(
                !row.says.is_empty() && !row.at_provider.is_empty() && !row.at_app.is_empty(),
                "{}",
                row.means
            );
        }
    }

    #[test]
    fn what_is_not_known_is_left_to_others() {
        assert_eq!(Unreachable::of("something else", Side::App), None);
    }

    #[test]
    fn a_certificate_s_names_are_shown_short_and_harmless() {
        let text = format!("certificate not valid for name \"a\"; only for \u{1b}[31m{}", "x".repeat(999));
        let shown = Unreachable::of(&text, Side::App).unwrap().to_string();
        assert!(shown.len() < 400 && !shown.contains('\u{1b}') && shown.contains("name \"a\""), "{shown}");
    }
}
