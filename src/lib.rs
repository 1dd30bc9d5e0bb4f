//! Portcullis: a reverse-proxy authentication gateway.

pub mod access;
pub mod clock;
pub mod config;
mod forwarding;
pub mod gateway;
pub mod identity_provider;
pub mod respond;
pub mod server;
pub mod session;
mod strict_json;
mod upstream;
