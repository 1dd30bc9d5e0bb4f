//! Certificates of authorities of one's own: for identity providers and for upstreams.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::model::{Authorities, Upstream, UpstreamTls};
use super::reader::{Item, Section, boolean};
use super::values::host::host;
use crate::tls::NotPem;

/// A PEM file with one certificate or several, relative to the configuration's own directory.
pub(super) fn authorities(item: &Item<'_>) -> Option<Authorities> {
    const HINT: &str = "name a PEM file with the certificate of the authority, such as `\"ca.pem\"`";
    let path = item.text("a path", HINT)?;
    let pem = match item.report.read(path) {
        Ok(pem) => pem,
        Err(error) => {
            return item.fault(format!("the file `{path}` cannot be read: {error}"), error.hint());
        }
    };
    item.report.contents(item.path(), &pem);
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.unwrap_or_default();
    if certificates.is_empty() {
        let (what, hint) = match NotPem::of(&pem) {
            Some(what) => (what.to_string(), what.hint_for_certificate()),
            None => (String::from("has no PEM certificate"), HINT),
        };
        return item.fault(format!("the file `{path}` {what}"), hint);
    }
    let mut roots = RootCertStore::empty();
    let are_usable = certificates.iter().all(|certificate| {
        roots.add(certificate.clone()).is_ok() && x509_parser::parse_x509_certificate(certificate).is_ok()
    });
    if !are_usable {
        return item.fault(format!("a certificate of the file `{path}` is malformed"), HINT);
    }
    Some(Authorities(certificates.into_iter().map(|certificate| certificate.to_vec()).collect()))
}

/// `[apps.NAME.upstream_tls]`.
pub(super) fn upstream_tls(app: &Section<'_>, upstreams: Option<&[Upstream]>) -> Option<UpstreamTls> {
    let section = app.section("upstream_tls");
    let ca = section.optional("ca", "the machine's authorities", authorities);
    let server_name = section.optional("server_name", "the host of the upstream's URL", host);
    let http2 = section.defaulted("http2", "true", boolean);
    let has_none = upstreams.is_some_and(|upstreams| !upstreams.iter().any(|upstream| upstream.tls));
    if has_none && !section.is_empty() {
        section.warn_here(
            "no upstream of the app is `https`, so this is not used",
            "write `https://` in `upstreams`",
        );
    }
    Some(UpstreamTls { ca: ca?, server_name: server_name?, http2: http2? })
}
