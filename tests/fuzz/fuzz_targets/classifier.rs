//! The classifier against etherparse.
#![no_main]

libfuzzer_sys::fuzz_target!(|frame: &[u8]| tests::fuzz::classifier::check(frame));
