//! See `ollama_guard::exporter::web::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ollama_guard::exporter::web::fuzz(bytes));
