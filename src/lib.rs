//! Portcullis: a reverse-proxy authentication gateway.

pub mod access;
mod admin;
pub mod clock;
pub mod command;
pub mod config;
mod forwarding;
pub mod gateway;
pub mod identity_provider;
pub mod respond;
pub mod server;
pub mod session;
mod strict_json;
pub mod telemetry;
mod upstream;
