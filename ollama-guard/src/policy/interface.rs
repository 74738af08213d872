//! Interface names and the patterns that choose among them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest interface name in bytes: `IFNAMSIZ` (16, `include/uapi/linux/if.h`) less the closing NUL.
const MAX_NAME: usize = 15;

/// A network interface's name: 1 to 15 bytes, no `/`, no white space, not `.` or `..`
/// (`dev_valid_name`, `net/core/dev.c`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

/// Why a text names no interface or pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    text: String,
    why: &'static str,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" {}", self.text.escape_debug(), self.why)
    }
}

impl std::error::Error for InvalidName {}

fn validate(text: &str, is_prefix: bool) -> Result<(), InvalidName> {
    let why = if text.is_empty() && !is_prefix {
        "is empty"
    } else if text.len() > MAX_NAME {
        "is longer than the 15 bytes of an interface name"
    } else if text.contains('*') {
        "may have one `*`, at its end"
    } else if !is_prefix && (text == "." || text == "..") {
        "is not an interface name"
    } else if text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0') {
        "has a character that interface names cannot have"
    } else {
        return Ok(());
    };
    Err(InvalidName { text: text.to_owned(), why })
}

impl InterfaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        validate(text, false)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An exact interface name, or a prefix written with one `*` at its end: what nftables' `iifname` can match,
/// so that both layers mean the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NamePattern {
    /// `eth0`
    Exact(InterfaceName),
    /// `br-*`: the text before the star, 0 to 15 bytes.
    Prefix(String),
}

impl NamePattern {
    /// Does the pattern cover this name?
    pub fn matches(&self, name: &InterfaceName) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.0.starts_with(prefix.as_str()),
        }
    }
}

impl FromStr for NamePattern {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.strip_suffix('*') {
            Some(prefix) => validate(prefix, true).map(|()| Self::Prefix(prefix.to_owned())),
            None => text.parse().map(Self::Exact),
        }
    }
}

impl TryFrom<String> for NamePattern {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.pad(name.as_str()),
            Self::Prefix(prefix) => f.pad(&format!("{prefix}*")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_names_that_begin_with_it() {
        let pattern: NamePattern = "br-*".parse().unwrap();
        assert!(pattern.matches(&"br-4f2a".parse().unwrap()));
        assert!(!pattern.matches(&"br0".parse().unwrap()));
        assert_eq!(pattern.to_string(), "br-*");
    }

    #[test]
    fn only_what_nftables_can_express_is_a_pattern() {
        for bad in ["", "a*b", "*a", "a**", "sixteen-bytes-xx", "a b", "a/b", "a:b", ".."] {
            assert!(bad.parse::<NamePattern>().is_err(), "{bad:?} was accepted");
        }
        assert!("*".parse::<NamePattern>().is_ok());
        assert!("fifteen-bytes-x".parse::<NamePattern>().is_ok());
    }
}
