//! See `ollama_guard::links::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ollama_guard::links::fuzz(bytes));
