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

/// For the fuzzer: the first byte says what kind of object the rest describes, as attributes of a message from the kernel.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    use object::Kind;
    let [kind, attributes @ ..] = bytes else { return };
    let kinds = [Kind::Table, Kind::Chain, Kind::Rule, Kind::Set, Kind::Element, Kind::Counter];
    let mut message = vec![0; 20]; // struct nlmsghdr, struct nfgenmsg
    message.extend(attributes);
    message.resize(message.len().next_multiple_of(4), 0);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message[..4].copy_from_slice(&length.to_ne_bytes());
    libnftnl::read(kinds[usize::from(*kind) % kinds.len()], &message);
}
