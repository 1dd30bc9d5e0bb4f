//! Certificates: their files, and which of them a client is shown.

mod certificate;
mod store;

pub(crate) use certificate::{Certificate, Validity};
pub(crate) use store::CertificateStore;
