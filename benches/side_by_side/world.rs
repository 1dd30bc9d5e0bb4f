//! Everything around the proxies: the app, the identity provider, keys and tokens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis::system::clock::{Clock, SystemClock};
use serde_json::Value;
use tempfile::TempDir;

use crate::issuer::{CLIENT_ID, Error, Issuer};
use crate::peers::{self, Peers};
use crate::process::Proxy;
use crate::provider::Calls;
use crate::requests::{COOKIE, subject};
use crate::server::Server;
use crate::{app, provider};

/// The lifetime of tokens, in seconds.
pub(crate) const LIFETIME: u64 = 86_400;

/// The start of a SubjectPublicKeyInfo (RFC 5280) of an RSA key of 2048 bits, up to the modulus.
const KEY_INFO: [u8; 33] = [
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
    0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00,
];

/// The end of it: the exponent 65537.
const EXPONENT: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];

/// Everything around the proxies.
pub(crate) struct World<'a> {
    peers: &'a Peers,
    pinned: bool,
    /// Holds configurations, logs and the key.
    directory: TempDir,
    issuer: Issuer,
    issuer_url: String,
    jwks: Value,
    app: SocketAddr,
    provider: SocketAddr,
    /// Valid JWTs of sessions 0, 1, …, which the provider gives, too.
    pub(crate) tokens: Vec<String>,
    /// The provider's.
    pub(crate) calls: Arc<Calls>,
}

impl<'a> World<'a> {
    /// Starts app and identity provider, which takes its time for a grant, and makes the tokens of so many sessions.
    pub(crate) fn new(
        peers: &'a Peers,
        pinned: bool,
        sessions: usize,
        provider_delay: Duration,
    ) -> Result<Self, Error> {
        let issuer = Issuer::new("RS256")?;
        let jwks = issuer.jwks()?;
        let (listener, provider) = provider::bind()?;
        let issuer_url = format!("http://{provider}");
        let tokens = sign(&issuer, &issuer_url, sessions, SystemClock.now())?;
        let calls = provider::start(listener, &jwks, tokens.clone(), provider_delay)?;
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("key.pem"), pem(&jwks)?)?;
        let app = app::start()?;
        Ok(Self { peers, pinned, directory, issuer, issuer_url, jwks, app, provider, tokens, calls })
    }

    /// JWTs of sessions 0, 1, … that expire at this time, in seconds since the epoch.
    pub(crate) fn tokens_until(&self, expiry: u64, sessions: usize) -> Result<Vec<String>, Error> {
        sign(&self.issuer, &self.issuer_url, sessions, expiry.saturating_sub(LIFETIME))
    }

    /// Starts a proxy.
    pub(crate) fn start(&self, server: &Server) -> Result<Proxy, Error> {
        let directory = self.directory.path();
        match server {
            Server::Bare => Proxy::start(&["bare".into(), self.app.to_string()], None, self.pinned),
            Server::Portcullis(gateway) => {
                let file = directory.join("gateway.toml");
                std::fs::write(&file, gateway.toml(self.app, self.provider))?;
                Proxy::start(&["portcullis".into(), file.display().to_string()], None, self.pinned)
            }
            Server::Peer(peer) => {
                let fill = [
                    ("@BACKEND_PORT@", self.app.port().to_string()),
                    ("@DIR@", directory.display().to_string()),
                    ("@COOKIE@", COOKIE.to_owned()),
                    ("@ISSUER@", self.issuer_url.clone()),
                    ("@AUDIENCE@", CLIENT_ID.to_owned()),
                    ("@JWKS@", self.jwks.to_string()),
                ];
                let fill: Vec<(&str, &str)> =
                    fill.iter().map(|(word, value)| (*word, value.as_str())).collect();
                self.peers.start(*peer, &fill, directory, self.pinned)
            }
        }
    }

    /// Returns the proxy's own words about its failure.
    pub(crate) fn said(&self, server: &Server) -> String {
        match server {
            Server::Peer(peer) => peers::said(*peer, self.directory.path()),
            Server::Bare | Server::Portcullis(_) => String::new(),
        }
    }
}

fn sign(issuer: &Issuer, url: &str, sessions: usize, issued_at: u64) -> Result<Vec<String>, Error> {
    (0..sessions).map(|session| issuer.token(url, &subject(session), issued_at)).collect()
}

/// The public key, for HAProxy.
fn pem(jwks: &Value) -> Result<String, Error> {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let modulus = jwks.pointer("/keys/0/n").and_then(Value::as_str).ok_or("no modulus")?;
    let der = [&KEY_INFO[..], &URL_SAFE_NO_PAD.decode(modulus)?, &EXPONENT].concat();
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der)))
}
