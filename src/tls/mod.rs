//! Certificates: their files, and which of them a client is shown.

mod certificate;
mod not_pem;
mod store;

pub(crate) use certificate::{Certificate, Validity};
pub(crate) use not_pem::NotPem;
pub(crate) use store::CertificateStore;
