//! One certificate with its chain and its key, from PEM files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use super::not_pem::NotPem;
use crate::system::file::{Unreadable, read_bytes};

/// One of `server.tls.certificates`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The PEM file with the certificate, followed by its chain.
    pub certificate: PathBuf,
    /// The PEM file with the private key of the certificate.
    pub key: PathBuf,
}

/// The reason why a certificate cannot be used. No message shows the contents of a key's file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// A file cannot be read.
    #[error("the file `{}` cannot be read: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Tells whether the file is the one with the key.
        is_key: bool,
        /// The reason.
        source: Unreadable,
    },
    /// The certificate's file holds no certificate in PEM.
    #[error("the file `{}` {}", .0.display(), told(.1.as_ref(), "has no PEM certificate (`-----BEGIN CERTIFICATE-----`)"))]
    NoCertificate(PathBuf, Option<NotPem>),
    /// The PEM text is not an X.509 certificate.
    #[error("the first certificate of `{}` is malformed", .0.display())]
    Malformed(PathBuf),
    /// The key's file holds no private key in PEM.
    #[error("the file `{}` {}", .0.display(), told(.1.as_ref(), "has no PEM private key (`-----BEGIN PRIVATE KEY-----`)"))]
    NoKey(PathBuf, Option<NotPem>),
    /// A key that cannot sign, such as one of an unknown kind.
    #[error("the key in `{}` cannot be used: RSA, ECDSA P-256/P-384/P-521 and Ed25519 keys can", .0.display())]
    UnusableKey(PathBuf),
    /// The key belongs to another certificate.
    #[error("the key in `{}` does not belong to the certificate", .0.display())]
    Mismatch(PathBuf),
}

impl CertificateError {
    /// Tells whether the key's file is at fault, and not the certificate's file.
    pub(crate) fn is_about_key(&self) -> bool {
        match self {
            Self::Unreadable { is_key, .. } => *is_key,
            Self::NoCertificate(..) | Self::Malformed(_) => false,
            Self::NoKey(..) | Self::UnusableKey(_) | Self::Mismatch(_) => true,
        }
    }

    /// Returns the advice.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { source, .. } => source.hint(),
            Self::NoCertificate(_, Some(found)) => found.hint_for_certificate(),
            Self::NoKey(_, Some(found)) => found.hint_for_key(),
            Self::NoCertificate(_, None) | Self::Malformed(_) => {
                "name a PEM file with the certificate first and then its chain, such as `fullchain.pem`"
            }
            Self::NoKey(_, None) | Self::UnusableKey(_) => "name a PEM file with an unencrypted private key",
            Self::Mismatch(_) => {
                "name the key that the certificate was made for; the first one of the file counts"
            }
        }
    }
}

/// Returns words for what was found instead. If that is not known, returns `otherwise`.
fn told(found: Option<&NotPem>, otherwise: &str) -> String {
    found.map_or_else(|| otherwise.to_owned(), NotPem::to_string)
}

/// A certificate that can be shown to clients.
pub(crate) struct Certificate {
    /// The chain and the key.
    pub(crate) key: Arc<CertifiedKey>,
    /// The names in lower case, and the addresses as text. A name begins with `*.` if its first label may be any.
    names: Vec<String>,
    not_before: i64,
    not_after: i64,
}

/// The names and the lifetime in a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Validity {
    /// The names and addresses that the certificate is for.
    pub(crate) names: Vec<String>,
    /// The start of the lifetime, in Unix seconds.
    pub(crate) not_before: i64,
    /// The end of the lifetime, in Unix seconds.
    pub(crate) not_after: i64,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads the two files with `read`, and checks them.
    pub(crate) fn load(
        files: &CertificateFiles,
        read: impl Fn(&Path) -> Result<Zeroizing<Vec<u8>>, Unreadable>,
    ) -> Result<Self, CertificateError> {
        Self::parse(files, &Contents::read_by(files, read)?)
    }

    /// Checks the contents of the two files.
    pub(crate) fn parse(files: &CertificateFiles, contents: &Contents) -> Result<Self, CertificateError> {
        let (certificate, key) = (&files.certificate, &files.key);
        let no_certificate =
            || CertificateError::NoCertificate(certificate.clone(), NotPem::of(&contents.certificate));
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&contents.certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| no_certificate())?;
        let first = chain.first().ok_or_else(no_certificate)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(first)
            .map_err(|_| CertificateError::Malformed(certificate.clone()))?;
        let names = names(&parsed);
        let validity = parsed.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let private = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| CertificateError::NoKey(key.clone(), NotPem::of(&contents.key)))?;
        let certified = CertifiedKey::from_der(chain, private, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CertificateError::Mismatch(key.clone()),
            rustls::Error::InvalidCertificate(_) => CertificateError::Malformed(certificate.clone()),
            _ => CertificateError::UnusableKey(key.clone()),
        })?;
        Ok(Self { key: Arc::new(certified), names, not_before, not_after })
    }

    /// Tells whether the certificate is for this lower-case host: a name, or an address without brackets. A wildcard
    /// matches exactly one label (RFC 9525 section 6.3).
    pub(crate) fn covers(&self, host: &str) -> bool {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(suffix) => parent == Some(suffix),
            None => name == host,
        })
    }

    /// Returns the names and the lifetime of the certificate.
    pub(crate) fn validity(&self) -> Validity {
        Validity { names: self.names.clone(), not_before: self.not_before, not_after: self.not_after }
    }

    /// Tells whether the certificate's lifetime is over at Unix seconds `now`.
    pub(crate) fn has_expired(&self, now: u64) -> bool {
        i64::try_from(now).is_ok_and(|now| now > self.not_after)
    }

    /// Tells whether the certificate's lifetime begins after Unix seconds `now`.
    pub(crate) fn is_early(&self, now: u64) -> bool {
        i64::try_from(now).is_ok_and(|now| now < self.not_before)
    }
}

/// The contents of the two files, zeroised on drop.
pub(crate) struct Contents {
    certificate: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
}

impl Contents {
    pub(crate) fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        Self::read_by(files, read_bytes)
    }

    fn read_by(
        files: &CertificateFiles,
        read: impl Fn(&Path) -> Result<Zeroizing<Vec<u8>>, Unreadable>,
    ) -> Result<Self, CertificateError> {
        let unreadable = |path: &Path, is_key| {
            let path = path.to_owned();
            move |source| CertificateError::Unreadable { path, is_key, source }
        };
        let certificate = read(&files.certificate).map_err(unreadable(&files.certificate, false))?;
        let key = read(&files.key).map_err(unreadable(&files.key, true))?;
        Ok(Self { certificate, key })
    }

    /// Returns a fingerprint, by which two contents can be compared without keeping the key.
    pub(crate) fn fingerprint(&self) -> Vec<u8> {
        let mut both = digest::digest(&digest::SHA256, &self.certificate).as_ref().to_vec();
        both.extend_from_slice(digest::digest(&digest::SHA256, &self.key).as_ref());
        both
    }
}

/// Returns the cryptography of every TLS connection.
pub(crate) fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// Returns the subject's alternative names. The common name is ignored, as in browsers (RFC 9525 section 6.3).
fn names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string());
            v4.or_else(|_| {
                <[u8; 16]>::try_from(*bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string())
            })
            .ok()
        }
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}
