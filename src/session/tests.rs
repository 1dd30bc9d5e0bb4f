//! Sessions against a provider on a real socket, whose answers each test scripts.

pub(super) mod harness;
mod login;
mod logout;
mod refresh;
mod replicas;
