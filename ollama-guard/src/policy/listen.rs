//! Where `/metrics` is served.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a unix socket's path begins with in the configuration.
const UNIX: &str = "unix:";
/// Longest path of a unix socket in bytes: `sun_path` (108, unix(7)) less the closing NUL.
const MAX_PATH: usize = 107;

/// An address with a port, or the absolute path of a unix socket: `unix:/run/…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// TCP. The port is not 0.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// Why a text is no place to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidListen {
    /// Neither an address with a port nor `unix:` and a path.
    NoAddress,
    /// Port 0.
    NoPort,
    /// A relative path, or one with `.` or `..` in it.
    NoPath,
    /// Longer than a socket's path may be.
    TooLong,
}

impl Listen {
    /// The TCP address, if others than this host might reach it.
    pub fn reachable(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) if !address.ip().is_loopback() => Some(*address),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        let Some(path) = text.strip_prefix(UNIX) else {
            return match text.parse::<SocketAddr>() {
                Ok(address) if address.port() == 0 => Err(InvalidListen::NoPort),
                Ok(address) => Ok(Self::Tcp(address)),
                Err(_) => Err(InvalidListen::NoAddress),
            };
        };
        let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
        match path.strip_prefix('/') {
            Some(rest) if !rest.split('/').any(odd) => {
                if path.len() > MAX_PATH {
                    Err(InvalidListen::TooLong)
                } else {
                    Ok(Self::Unix(path.into()))
                }
            }
            _ => Err(InvalidListen::NoPath),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl fmt::Display for InvalidListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAddress => "is not an address with a port",
            Self::NoPort => "port 0 is not a port",
            Self::NoPath => "is not an absolute path of a socket",
            Self::TooLong => "is longer than the 107 bytes of a socket's path",
        })
    }
}

impl TryFrom<String> for Listen {
    type Error = InvalidListen;

    fn try_from(text: String) -> Result<Self, InvalidListen> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["127.0.0.1:19434", "[::1]:9", "unix:/run/ollama-guard/metrics.sock"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn only_absolute_paths_are_sockets() {
        for text in ["unix:", "unix:/", "unix:metrics.sock", "unix:/run/../x", "unix://run/x"] {
            assert_eq!(text.parse::<Listen>(), Err(InvalidListen::NoPath), "{text}");
        }
        let of_length = |bytes: usize| format!("unix:/{}", "x".repeat(bytes - 1)).parse::<Listen>();
        assert!(of_length(107).is_ok());
        assert_eq!(of_length(108), Err(InvalidListen::TooLong));
    }

    #[test]
    fn loopback_and_sockets_are_out_of_reach() {
        let reachable = |text: &str| text.parse::<Listen>().unwrap().reachable().is_some();
        assert!(!reachable("127.0.0.2:1") && !reachable("[::1]:1") && !reachable("unix:/run/x"));
        assert!(reachable("0.0.0.0:1") && reachable("[::]:1") && reachable("100.64.0.1:1"));
    }
}
