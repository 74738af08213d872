//! The wall: loads, attaches and reads back the kernel programs. The only place that knows aya and `bpf(2)`.
//!
//! Everything that must outlive this process is pinned: shared maps, one program per distinct [`KernelRules`] and
//! hook, one link per interface (where the hook has no links: a filter of our own). A program's pin is named after what it enforces, so whether an interface is
//! guarded as the policy says is a comparison of program ids, and a restart that changes nothing touches nothing.
//!
//! [`KernelRules`]: crate::plan::rules::KernelRules

mod attach;
mod clsact;
mod counters;
#[cfg(feature = "debug-log")]
mod debug;
mod egress;
mod error;
mod events;
mod held;
mod interfaces;
mod load;
mod map;
mod pins;
mod program;
mod query;
mod retire;
mod shared;
mod state;
mod strangers;
mod sys;
mod unpinned;
mod wall;

pub use attach::{Enforced, Receives, Target};
pub use counters::{InterfaceReading, Reading, SourceReading};
pub use error::DatapathError;
pub use events::{EventKey, EventReading, EventRing, Rest, Stay};
pub use pins::{PinDirectory, Versions};
pub use program::{Family, OBJECT, ProgramKey};
pub use state::{Coming, Event, State};
pub use unpinned::PinWatch;
pub use wall::{Attachment, Point, Standing, Wall};
