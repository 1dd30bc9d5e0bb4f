//! The operating system under the gateway: the time, names of hosts, files, descriptors, and connections that fail.

pub mod clock;
pub(crate) mod descriptors;
pub(crate) mod elapsed;
pub mod explained;
pub(crate) mod file;
pub(crate) mod host_name;
pub mod name_lookup;
pub(crate) mod resource_usage;
pub(crate) mod unreachable;
