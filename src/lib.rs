//! Portcullis: a reverse-proxy authentication gateway.

pub mod access;
pub mod clock;
pub mod config;
pub mod identity_provider;
pub mod respond;
pub mod server;
