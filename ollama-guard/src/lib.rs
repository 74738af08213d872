//! ollama-guard closes the Ollama port in the kernel on every interface except the VPN and loopback.
//!
//! Data flows one way: [`config`] → [`policy`] → `plan` (with `links`) → `reconcile` → `datapath` and `seatbelt`
//! → kernel → `observe` → status, JSON, metrics, events.

pub mod account;
mod backoff;
pub mod class;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod control;
pub mod datapath;
pub mod derived;
pub mod events;
pub mod exit;
pub mod exporter;
pub mod findings;
mod flows;
pub mod init;
pub mod links;
pub mod logs;
mod netlink;
pub mod observe;
pub mod plan;
pub mod policy;
pub mod procfs;
mod quota;
pub mod reconcile;
pub mod seatbelt;
pub mod service;
mod sockets;
mod tips;
