//! `[apps.*]` and the tables below it.

pub(crate) mod cookies;
pub(crate) mod endpoints;
pub(crate) mod hosts;
pub(crate) mod identity_headers;
pub(crate) mod routes;
pub(crate) mod table;
pub(crate) mod upstreams;
