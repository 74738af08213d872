//! ollama-guard
fn main() {}
