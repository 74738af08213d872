//! See `ollama_guard::procfs::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ollama_guard::procfs::fuzz(bytes));
