//! See `ollama_guard::seatbelt::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ollama_guard::seatbelt::fuzz(bytes));
