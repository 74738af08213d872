//! The seatbelt: the nftables mirror of the wall, in a table of its own.
//!
//! [`ruleset::lower`] says what the table should hold (pure), [`Seatbelt`] keeps the kernel to it, [`Monitor`] hears
//! when somebody touches it, and [`read_status`] reads what is there, daemon or not. The `nft` program is never called.

mod batch;
mod encode;
mod error;
mod keeper;
mod libnftnl;
mod monitor;
mod object;
mod readback;
pub mod ruleset;
mod status;
mod transport;

pub use error::SeatbeltError;
pub use keeper::{Repair, Seatbelt};
pub use monitor::{Author, Monitor, Touched};
pub use readback::Count;
pub use status::{Condition, SeatbeltStatus, read_status};

/// The table's name, in the family `inet`.
pub const TABLE: &str = "ollama_guard";
