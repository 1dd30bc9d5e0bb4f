//! Everything around the gateway: the provider, the apps, the browser, all on real sockets.

pub(crate) mod app;
pub(crate) mod call;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod deaf;
pub(crate) mod fault;
pub(crate) mod frames;
pub(crate) mod fusionauth;
pub(crate) mod gateway;
pub(crate) mod http2;
pub(crate) mod http2_client;
pub(crate) mod keys;
pub(crate) mod listening;
pub(crate) mod load;
pub(crate) mod names;
pub(crate) mod port;
pub(crate) mod program;
pub(crate) mod provider;
pub(crate) mod proxy;
pub(crate) mod set_cookie;
pub(crate) mod slow;
pub(crate) mod strict;
pub(crate) mod wire;

pub(crate) use app::{App, Reply};
pub(crate) use call::Endpoint;
pub(crate) use client::{Answer, Browser, Request};
pub(crate) use fault::Fault;
pub(crate) use gateway::{Gateway, HOST, NEXT_SEAL_KEY, SEAL_KEY, SEALED, World, store_at};
pub(crate) use http2_client::Http2Client;
pub(crate) use keys::Key;
pub(crate) use provider::Rotation;
pub(crate) use wire::{patiently, wait_for};
