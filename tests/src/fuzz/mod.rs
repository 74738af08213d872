//! What the fuzzer checks, one function a target: each takes any bytes and panics where something is wrong. The programs
//! around them are in `tests/fuzz`; the suite `corpus` runs them on what was found before.

pub mod classifier;
pub mod config;
pub mod generate;
pub mod kernel;
pub mod nftables;
pub mod pieces;
