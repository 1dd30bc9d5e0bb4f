//! Certificates: their files, and which of them a client is shown.

pub(crate) mod certificate;
mod not_pem;

pub use certificate::CertificateFiles;
pub(crate) use certificate::{Certificate, Validity};
pub(crate) use not_pem::NotPem;
