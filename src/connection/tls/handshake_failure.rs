//! The reasons why TLS handshakes fail: for the log (a few lines a second) and for the metrics.

use std::io;
use std::net::SocketAddr;

use rustls::{AlertDescription, Error, PeerIncompatible};
use tracing::{debug, info};

use crate::telemetry::metrics::METRICS;
use crate::telemetry::rate_limited_log::Seldom;

/// Limits the log lines. Scanners fail all day, and one packet is enough to cause a line.
static LINES: Seldom = Seldom::new(5);

/// The reason why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No certificate covers the name that the client asked for, or the client verifies no key of those that do.
    UnknownName,
    /// No application protocol in common (ALPN).
    NoCommonProtocol,
    NoCommonVersion,
    /// No cipher suite, group or signature scheme in common.
    Incompatible,
    /// The client does not trust the certificate.
    CertificateRefused,
    /// The client has left before the end of the handshake.
    Closed,
    /// The handshake took too long.
    TimedOut,
    /// The bytes are not TLS.
    NotTls,
    /// The bytes are TLS, but break its rules.
    Malformed,
}

impl Failure {
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
            None => Self::Closed,
            Some(Error::NoApplicationProtocol) => Self::NoCommonProtocol,
            Some(
                Error::PeerIncompatible(
                    PeerIncompatible::SupportedVersionsExtensionRequired
                    | PeerIncompatible::Tls12NotOffered
                    | PeerIncompatible::Tls12NotOfferedOrEnabled,
                )
                | Error::AlertReceived(AlertDescription::ProtocolVersion),
            ) => Self::NoCommonVersion,
            Some(Error::PeerIncompatible(_) | Error::AlertReceived(AlertDescription::HandshakeFailure)) => {
                Self::Incompatible
            }
            Some(Error::AlertReceived(alert)) => Self::of_alert(*alert),
            // For a server, this error has one meaning: it has no certificate to send.
            Some(Error::General(_)) => Self::UnknownName,
            Some(_) => Self::Malformed,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CloseNotify | AlertDescription::UserCanceled => Self::Closed,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificateStatusResponse
            | AlertDescription::CertificateUnobtainable
            // The alert says that a signature is wrong. Here only certificates have signatures.
            | AlertDescription::DecryptError => Self::CertificateRefused,
            AlertDescription::NoApplicationProtocol => Self::NoCommonProtocol,
            _ => Self::Malformed,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownName => "unknown_name",
            Self::NoCommonProtocol => "no_common_protocol",
            Self::NoCommonVersion => "no_common_version",
            Self::Incompatible => "incompatible",
            Self::CertificateRefused => "certificate_refused",
            Self::Closed => "closed",
            Self::TimedOut => "timed_out",
            Self::NotTls => "not_tls",
            Self::Malformed => "malformed",
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::UnknownName => {
                "no certificate of `server.tls.certificates` is for this name and has a key that the client verifies"
            }
            Self::NoCommonProtocol => "the client offers neither HTTP/1.1 nor HTTP/2 (ALPN)",
            Self::NoCommonVersion => "the client offers no version from `server.tls.min_version` on",
            Self::Incompatible => "no cipher suite, group or signature scheme in common",
            Self::CertificateRefused => "the client does not trust the certificate that it was shown",
            Self::Closed => "the client has left in the middle of it",
            Self::TimedOut => "it took longer than `server.limits.header_timeout`",
            Self::NotTls => "this is no TLS",
            Self::Malformed => "the client does not keep to the rules of TLS",
        }
    }

    /// Counts the failure, and writes a line if there have not been many. `name` is the name that was asked for, and
    /// `detail` says more about the failure.
    pub(crate) fn tell(self, peer: SocketAddr, name: Option<&str>, detail: Option<&str>) {
        METRICS.process.handshake_failures.with_label_values(&[self.as_str()]).inc();
        let Some(unlogged) = LINES.turn() else { return };
        info!(
            client = %peer.ip(),
            reason = self.as_str(),
            server_name = name,
            detail,
            unlogged,
            "TLS handshake failed: {}",
            self.in_words()
        );
    }
}

/// Writes a debug line about a client that sends nothing. This is normal: probes, scanners, and browsers that connect
/// ahead do so.
pub(crate) fn tell_of_silence(peer: SocketAddr) {
    debug!(%peer, "the client has left, or said nothing, before a TLS handshake");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_means() {
        use AlertDescription as Alert;
        for (error, expected) in [
            (Error::NoApplicationProtocol, Failure::NoCommonProtocol),
            (Error::General("no server certificate chain resolved".into()), Failure::UnknownName),
            (Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled), Failure::NoCommonVersion),
            (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), Failure::Incompatible),
            (Error::AlertReceived(Alert::UnknownCA), Failure::CertificateRefused),
            (Error::AlertReceived(Alert::CertificateExpired), Failure::CertificateRefused),
            (Error::AlertReceived(Alert::BadCertificate), Failure::CertificateRefused),
            (Error::AlertReceived(Alert::DecryptError), Failure::CertificateRefused),
            (Error::AlertReceived(Alert::UserCanceled), Failure::Closed),
            (Error::AlertReceived(Alert::DecodeError), Failure::Malformed),
            (Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), Failure::Malformed),
        ] {
            let text = format!("{error:?}");
            assert_eq!(Failure::of(&io::Error::new(io::ErrorKind::InvalidData, error)), expected, "{text}");
        }
        assert_eq!(Failure::of(&io::ErrorKind::UnexpectedEof.into()), Failure::Closed);
        assert_eq!(Failure::of(&io::ErrorKind::ConnectionReset.into()), Failure::Closed);
    }
}
