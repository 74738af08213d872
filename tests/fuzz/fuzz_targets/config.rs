//! The configuration file's reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| tests::fuzz::config::check(text));
