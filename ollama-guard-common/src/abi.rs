//! abi
/// max
pub const MAX_SERVICES: usize = 15;
