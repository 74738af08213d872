//! The kernel programs of ollama-guard: XDP and TC ingress, from one classifier and one decision.
//!
//! Each is loaded once per class of interface, with [`rules::RULES`] as its constant policy. What they share with
//! the loader is in `ollama-guard-common`.
#![no_std]
#![no_main]
// For the atomic addition in `record`; the target needs an unstable standard library anyway.
#![feature(asm_experimental_arch)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the target has 64 bits, and helpers take lengths in 32; the values are small"
)]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one context or map entry, several of its fields")]
#![allow(clippy::needless_pass_by_value, reason = "aya's macros call programs so")]

mod access;
mod began;
mod bounds;
#[cfg(feature = "debug-log")]
mod debug;
mod events;
mod gate;
mod inside;
mod maps;
mod record;
mod route;
mod rules;
mod tc;
mod xdp;

/// The helpers used here are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
