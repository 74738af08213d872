//! The seatbelt against the wall's decision, and against a real kernel: the latter needs root and
//! `nf_tables`. Every test has network namespaces of its own.

mod agreement;
mod bridges;
mod install;
mod monitor;
mod packets;
mod policies;
mod random;
mod support;
mod text;
