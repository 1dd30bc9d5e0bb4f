//! The decision: pure and synchronous. It imports no Pingora, tokio or reqwest.

pub mod key_set;
