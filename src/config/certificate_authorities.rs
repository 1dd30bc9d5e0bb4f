//! Certificates of private authorities, for identity providers, upstreams and the collector of traces.

use std::fmt;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::reader::Item;
use crate::tls::NotPem;

/// Certificates of authorities, in DER. There is at least one. Only certificates that they sign are trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities(pub Vec<Vec<u8>>);

impl fmt::Debug for Authorities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Authorities").field(&self.0.len()).finish()
    }
}

/// Reads a PEM file with one or more certificates. Its path is relative to the configuration's directory.
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
