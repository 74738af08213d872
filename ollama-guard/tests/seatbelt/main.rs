//! The seatbelt against a real kernel: needs root and nf_tables; every test has network namespaces of its own.
#![allow(missing_docs)]

mod install;
mod support;
