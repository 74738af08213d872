//! What the kernel says, shown to people and scripts: one source, several faces.
//!
//! [`snapshot`] is plain data; whoever fills it reads the kernel, never the daemon's memory. The renderers are
//! pure: they take a snapshot and write text.

pub mod collect;
mod columns;
pub mod enforcement;
pub mod json;
pub mod metrics;
#[cfg(test)]
pub(crate) mod samples;
pub mod snapshot;
pub mod sources;
pub mod table;
pub mod terminal;
pub mod text;
