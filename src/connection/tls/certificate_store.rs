//! The certificates of the public listeners. The name that the client asks for selects one, and they are replaced when
//! their files change.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch as channel;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info};

use crate::config::{Tls, TlsVersion};
use crate::tls::CertificateFiles;

use crate::tls::certificate::{Certificate, CertificateError, Contents, Validity, provider};

/// The interval at which the files are checked for changes.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// The protocols that a TLS listener accepts, the preferred one first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificates in use. A handshake takes those in use at that moment. A connection keeps the one that it was
/// given.
pub(crate) struct CertificateStore {
    files: Vec<CertificateFiles>,
    current: ArcSwap<Loaded>,
}

/// Certificates, and the data by which a change of their files is noticed.
struct Loaded {
    certificates: Vec<Certificate>,
    fingerprint: Vec<u8>,
}

impl fmt::Debug for CertificateStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CertificateStore").field("files", &self.files).finish_non_exhaustive()
    }
}

impl CertificateStore {
    /// Loads every certificate.
    pub(crate) fn load(tls: &Tls) -> Result<Self, CertificateError> {
        let files = tls.certificates.clone();
        let contents = read(&files)?;
        let loaded = Loaded { certificates: parse(&files, &contents)?, fingerprint: fingerprint(&contents) };
        Ok(Self { files, current: ArcSwap::from_pointee(loaded) })
    }

    /// Returns the names and the expiry of each certificate in use.
    pub(crate) fn validities(&self) -> Vec<Validity> {
        self.current.load().certificates.iter().map(Certificate::validity).collect()
    }

    /// Returns the settings with which listeners do TLS handshakes.
    pub(crate) fn server_config(self: &Arc<Self>, tls: &Tls) -> Result<ServerConfig, rustls::Error> {
        let versions: &[&rustls::SupportedProtocolVersion] = match tls.min_version {
            TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let resolver: Arc<Self> = Arc::clone(self);
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // Sessions are resumed from a ticket that the client keeps. 0-RTT stays off, since it can be replayed.
        config.ticketer = Ticketer::new()?;
        Ok(config)
    }

    /// Replaces the certificates when their files change, until `is_over` turns true. If files cannot be used, the
    /// certificates stay as they are.
    pub(crate) async fn run(self: Arc<Self>, mut is_over: channel::Receiver<bool>) {
        let mut ticks = interval(RELOAD_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = is_over.wait_for(|is_over| *is_over) => return,
            }
            let store = Arc::clone(&self);
            let looking = tokio::task::spawn_blocking(move || store.look(failing));
            failing = looking.await.unwrap_or_default();
        }
    }

    /// Looks at the files once. Takes the files that could not be used before, and returns those that cannot be used
    /// now.
    fn look(&self, failing: Option<Failing>) -> Option<Failing> {
        let contents = read(&self.files);
        let found = contents
            .as_ref()
            .map_or_else(|error| error.to_string().into_bytes(), |contents| fingerprint(contents));
        if self.current.load().fingerprint == found {
            return None;
        }
        let error = match contents.and_then(|contents| parse(&self.files, &contents)) {
            Ok(certificates) => {
                info!(certificates = certificates.len(), "new certificates are in use");
                self.current.store(Arc::new(Loaded { certificates, fingerprint: found }));
                return None;
            }
            Err(error) => error,
        };
        // Two files are seldom replaced in one moment. So an error is logged only if the next look finds it again.
        let has_stayed = failing.as_ref().is_some_and(|failing| failing.found == found);
        let is_reported = has_stayed && failing.is_some_and(|failing| failing.is_reported);
        if has_stayed && !is_reported {
            let hint = error.hint();
            error!(key = "server.tls.certificates", %error, hint, "the certificates before stay in use");
        }
        Some(Failing { found, is_reported: has_stayed })
    }
}

/// Files that cannot be used, and a note that says if this was logged.
struct Failing {
    found: Vec<u8>,
    is_reported: bool,
}

fn read(files: &[CertificateFiles]) -> Result<Vec<Contents>, CertificateError> {
    files.iter().map(Contents::read).collect()
}

fn parse(files: &[CertificateFiles], contents: &[Contents]) -> Result<Vec<Certificate>, CertificateError> {
    files.iter().zip(contents).map(|(files, contents)| Certificate::parse(files, contents)).collect()
}

fn fingerprint(contents: &[Contents]) -> Vec<u8> {
    contents.iter().flat_map(Contents::fingerprint).collect()
}

impl ResolvesServerCert for CertificateStore {
    /// Returns the first certificate that covers the name and that the client can verify. A client that names none,
    /// such as a health check, gets the first certificate. A client that asks for an unknown name is turned away.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let loaded = self.current.load();
        // RFC 6066 section 3 does not allow a dot at the end of the name, but some clients send one.
        let name =
            hello.server_name().map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
        let fits = |certificate: &&Certificate| {
            name.as_ref().is_none_or(|name| certificate.covers(name))
                && certificate.key.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        loaded.certificates.iter().find(fits).map(|certificate| Arc::clone(&certificate.key))
    }
}
