//! Three replicas of the gateway, each a process of its own, with one real engine (Redis), and a provider that ends a
//! session when a refresh token comes a second time.
//!
//! `cargo test --features fleet-suite --test fleet` needs `redis-server`. Each test has its own engine, provider and
//! replicas, all on free ports of 127.0.0.1. They end with the test.

#![cfg(test)]

mod harness;
/// The stand-ins that these tests share with those of a single gateway.
#[path = "../gateway/support"]
#[expect(dead_code, reason = "tests/gateway uses more of them")]
mod support {
    pub(crate) mod app;
    pub(crate) mod call;
    pub(crate) mod certificates;
    pub(crate) mod client;
    pub(crate) mod fault;
    pub(crate) mod keys;
    pub(crate) mod listening;
    pub(crate) mod port;
    pub(crate) mod provider;
    pub(crate) mod set_cookie;
    pub(crate) mod wire;

    pub(crate) use app::Reply;
    pub(crate) use call::Endpoint;
    pub(crate) use client::{Answer, Browser, Request};
    pub(crate) use fault::Fault;
    pub(crate) use keys::Key;
    pub(crate) use wire::{patiently, wait_for};
}

mod bursts;
mod calls_under_way;
mod claims;
mod engine_access;
mod engine_faults;
mod hot_path;
mod idle;
mod logins;
mod observability;
mod readiness;
mod replica_faults;
mod reuse;
mod revocations;
mod secrecy;
mod seen;
mod sentinel;
mod split_brain;
