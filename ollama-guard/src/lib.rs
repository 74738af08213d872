//! ollama-guard closes the Ollama port in the kernel on every interface except the VPN and loopback.
//!
//! Data flows one way: `config` → [`policy`] → `plan` (with `links`) → `reconcile` → `datapath` and `seatbelt`
//! → kernel → `observe` → status, JSON, metrics, events.

pub mod class;
pub mod policy;
pub mod seatbelt;
