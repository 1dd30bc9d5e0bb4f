//! An authority of our own and what it certifies, as files.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::listening::Listening;
use super::port::Port;
use super::wire::patiently;

/// Signs certificates into a directory of its own.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("")
    }

    /// One that has certified `store.localhost`, as `store`.
    pub(crate) fn for_store() -> Self {
        let authority = Self::new();
        authority.certify("store", &["store.localhost"]);
        authority
    }

    /// One of another name is another one; one of the same name claims to be the same.
    pub(crate) fn named(name: &str) -> Self {
        Self::with_key(name, KeyPair::generate().expect("a key"))
    }

    /// One whose key is this one.
    pub(crate) fn with_key(name: &str, key: KeyPair) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        if !name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        Self { issuer, directory: tempfile::tempdir().expect("a directory") }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Writes `FILE.pem` and `FILE.key`, for these names.
    pub(crate) fn certify(&self, file: &str, names: &[&str]) {
        self.certify_with(file, names, |_| {});
    }

    /// The same until the first second of a year.
    pub(crate) fn certify_until(&self, file: &str, names: &[&str], year: i32) {
        self.certify_with(file, names, |params| params.not_after = rcgen::date_time_ymd(year, 1, 1));
    }

    /// The same with something changed.
    pub(crate) fn certify_with(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.write(&format!("{file}.key"), &key.serialize_pem());
        self.write(&format!("{file}.pem"), &certificate.pem());
    }

    /// Writes its own certificate, and says where.
    pub(crate) fn ca(&self) -> String {
        self.write("ca.pem", &self.issuer.pem());
        self.path("ca.pem").display().to_string()
    }

    /// Replaces a file.
    pub(crate) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).expect("a writable directory");
    }

    /// `[server]` keys for TLS on a free port with these certificates.
    pub(crate) fn server(&self, files: &[&str]) -> String {
        let certificates: Vec<String> = files
            .iter()
            .map(|file| {
                let (certificate, key) =
                    (self.path(&format!("{file}.pem")), self.path(&format!("{file}.key")));
                format!("{{ certificate = '{}', key = '{}' }}", certificate.display(), key.display())
            })
            .collect();
        format!(
            "[server]\nlisten_tls = ['127.0.0.1:0']\ntrusted_proxies = ['127.0.0.2/32', '127.0.0.1/32']\n[server.tls]\ncertificates = [{}]\n",
            certificates.join(", ")
        )
    }

    /// The same on a port that is reserved already.
    pub(crate) fn server_at(&self, port: &Port, files: &[&str]) -> String {
        self.server(files).replace("127.0.0.1:0", &port.address().to_string())
    }

    /// A client that trusts this authority alone.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions that fit")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }
}

/// Shakes hands for a name, or as an address where it is one.
pub(crate) async fn connect(
    config: ClientConfig,
    address: SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    patiently("a TLS handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// The names of the certificate that was shown.
pub(crate) fn shown(connection: &ClientConnection) -> Vec<u8> {
    connection.peer_certificates().expect("a certificate")[0].as_ref().to_vec()
}

/// Sends one request and returns all that comes until the end of the connection.
pub(crate) async fn ask(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("an open connection");
    stream.flush().await.expect("an open connection");
    let mut answer = Vec::new();
    // Some of the other end's ends are abrupt.
    let _ = patiently("an answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A socket that ends TLS and passes everything on to `to`, which speaks without.
pub(crate) async fn terminator(authority: &Authority, file: &str, to: SocketAddr) -> SocketAddr {
    terminator_for(authority, file, &[], to).await
}

/// The same that chooses among these protocols (ALPN).
pub(crate) async fn terminator_for(
    authority: &Authority,
    file: &str,
    alpn: &[&[u8]],
    to: SocketAddr,
) -> SocketAddr {
    let terminator = terminator_at(Port::reserve(), authority, file, alpn, to).await;
    let address = terminator.address();
    // To the end of the test.
    std::mem::forget(terminator);
    address
}

/// The same at a port that is reserved already; it ends with what is returned.
pub(crate) async fn terminator_at(
    port: Port,
    authority: &Authority,
    file: &str,
    alpn: &[&[u8]],
    to: SocketAddr,
) -> Listening {
    let chain = CertificateDer::pem_file_iter(authority.path(&format!("{file}.pem"))).expect("a file");
    let key = PrivateKeyDer::from_pem_file(authority.path(&format!("{file}.key"))).expect("a key");
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions that fit")
            .with_no_client_auth()
            .with_single_cert(chain.map(|certificate| certificate.expect("PEM")).collect(), key)
            .expect("a pair");
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Listening::at(port, move |wire, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut near) = acceptor.accept(wire.stream).await else { return };
            let Ok(mut far) = TcpStream::connect(to).await else { return };
            let _either_side_ends = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    })
    .await
}
