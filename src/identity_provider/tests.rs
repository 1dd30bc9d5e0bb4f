//! The provider over real sockets: a server whose answers each test scripts.

mod faults;
mod grants;
mod keys;
mod taking_over;
mod token_fate;
