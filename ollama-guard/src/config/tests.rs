mod faults;
mod properties;
mod sound;

use std::path::Path;

use super::lockout::Listener;
use super::parse;
use crate::policy::Policy;

fn policy(text: &str) -> Policy {
    parse(Path::new("config.toml"), text, &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// What the user reads.
fn rejection(text: &str, listeners: &[Listener]) -> String {
    parse(Path::new("config.toml"), text, listeners).expect_err("the text has a fault").to_string()
}
