//! What the kernel programs and the loader share: the packet classifier, the decision, and the layout of the
//! maps between them. `no_std`, no allocation, no `unsafe`.
#![no_std]
#![forbid(unsafe_code)]

pub mod abi;
