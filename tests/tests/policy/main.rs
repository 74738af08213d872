//! Promises 1 and 2 under policies other than the default: what a configuration allows passes, everything else does not.
//! Each policy is tried with real connections in every arrangement of layers.

mod access;
mod classes;
mod containers;
mod forwarded;
mod services;

/// The default service's port.
const PORT: u16 = 11434;
