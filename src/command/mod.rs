//! The commands of the binary, each from what it needs to the text that it prints.

pub mod check;
