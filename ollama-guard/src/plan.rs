//! Policy × links → what the kernel should hold. Pure.

pub mod hook;
pub mod rules;
pub mod services;
