//! What can go wrong, and what to do about it.

use std::{fmt, io};

/// Why the seatbelt could not be put on, read or taken off.
#[derive(Debug)]
pub enum SeatbeltError {
    /// The kernel has no `nf_tables`, or it could not load the module.
    Unavailable(io::Error),
    /// This process may not change nftables.
    Forbidden,
    /// Another live process owns the table (`flags owner`).
    OwnedByAnother {
        /// The table.
        table: String,
        /// The owner's netlink port: mostly its process id.
        port: Option<u32>,
    },
    /// The kernel refused a part of the batch; the table is what it was before.
    Refused {
        /// The table, chain, rule, set or counter.
        what: String,
        /// Why.
        why: io::Error,
    },
    /// The kernel lacks a module that a part of the batch needs; the table is what it was before.
    NoModule {
        /// The module.
        module: &'static str,
        /// The rule or counter.
        what: String,
    },
    /// The netlink socket failed.
    Socket {
        /// What was attempted.
        attempt: &'static str,
        /// Why it failed.
        why: io::Error,
    },
    /// The kernel took the batch, but what it holds differs.
    NotAsWritten(String),
    /// Somebody changes the ruleset all the time: no consistent view of it could be read.
    Unsettled,
}

impl fmt::Display for SeatbeltError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => {
                write!(
                    f,
                    "nftables is not available ({why}): load the kernel module nf_tables, or set `seatbelt = false`"
                )
            }
            Self::Forbidden => {
                write!(f, "no permission to change nftables: run as root or with the capability CAP_NET_ADMIN")
            }
            Self::OwnedByAnother { table, port } => {
                write!(f, "the table inet {table} belongs to another process")?;
                if let Some(port) = port {
                    write!(f, " (netlink port {port}, mostly its process id)")?;
                }
                write!(f, ": is a second ollama-guard running? Stop it first")
            }
            Self::Refused { what, why } => {
                write!(f, "the kernel refused {what}: {why}; the table is unchanged")
            }
            Self::NoModule { module, what } => write!(
                f,
                "the kernel module {module} is missing, which {what} needs; the table is unchanged: load it (sudo modprobe \
                 {module}), install your distribution's package of further kernel modules, or set `seatbelt = false`"
            ),
            Self::Socket { attempt, why } => write!(f, "netlink: {attempt}: {why}"),
            Self::NotAsWritten(what) => {
                write!(f, "nftables took the rules but holds something else: {what}; is another program editing them?")
            }
            Self::Unsettled => write!(f, "the nftables ruleset changes too fast to be read: what is rewriting it?"),
        }
    }
}

impl std::error::Error for SeatbeltError {}

impl SeatbeltError {
    /// Can the wall alone be put up instead? True where nftables is not to be had on this system at all.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Forbidden)
    }

    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { why, .. } | Self::Socket { why, .. } | Self::Unavailable(why) => why.raw_os_error(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_and_whether_the_wall_stands_alone() {
        let why = || io::Error::from_raw_os_error(2);
        let another = |port| SeatbeltError::OwnedByAnother { table: "ollama_guard".into(), port };
        let errors = [
            (SeatbeltError::Unavailable(why()), true, Some(2)),
            (SeatbeltError::Forbidden, true, None),
            (another(Some(4711)), false, None),
            (another(None), false, None),
            (SeatbeltError::Refused { what: "the rule 3 of chain input".into(), why: why() }, false, Some(2)),
            (SeatbeltError::NoModule { module: "nft_fib_inet", what: "rule 3 of chain input".into() }, false, None),
            (SeatbeltError::Socket { attempt: "cannot send", why: why() }, false, Some(2)),
            (SeatbeltError::NotAsWritten("chain input has 3 rules instead of 4".into()), false, None),
            (SeatbeltError::Unsettled, false, None),
        ];
        for (error, absence, errno) in &errors {
            assert_eq!((error.is_absence(), error.errno()), (*absence, *errno), "{error}");
        }
        insta::assert_snapshot!(errors.map(|(error, ..)| error.to_string()).join("\n"));
    }
}
