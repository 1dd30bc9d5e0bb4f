//! The shared state of a fleet: any number of replicas with one engine.

#![expect(dead_code, reason = "it is being built")]

mod claim_protocol;
mod message;
mod results;
