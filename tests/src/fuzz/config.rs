//! The configuration: nothing makes its reader panic, an error always says something, and the same text always means the
//! same policy.

use std::path::Path;

use ollama_guard::config;

/// Panics if a text is read in a way it must not.
///
/// # Panics
///
/// That is what it is for.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = || config::parse(Path::new("config.toml"), text);
    match (read(), read()) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one, other, "two readings of one text");
            assert!(!one.services.is_empty(), "a policy that guards nothing");
        }
        (Err(error), Err(_)) => {
            let words = error.to_string();
            assert!(words.contains("config.toml") && words.len() < 50_000 + 500 * text.len(), "{words}");
        }
        _ => panic!("one reading is valid, the other is not"),
    }
}
