//! Certificates: reads their files, and chooses the certificate that a client gets.

pub(crate) mod certificate;
mod not_pem;

pub use certificate::CertificateFiles;
pub(crate) use certificate::{Certificate, Validity};
pub(crate) use not_pem::NotPem;
