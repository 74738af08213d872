//! What the kernel should hold: policy × links, by pure functions.

pub mod class;
#[cfg(test)]
pub(crate) mod fixture;
pub mod hook;
pub mod rules;
pub mod services;
