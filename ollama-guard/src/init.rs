//! How the daemon is managed on this host, so that advice names only commands that work here.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Who starts the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// systemd runs, and has the unit.
    #[default]
    Systemd,
    /// Another init system, or a person: what they type is not known.
    Other,
}

/// Where systemd looks for units (systemd.unit(5)), below the root.
const UNITS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

impl Init {
    /// Of this host.
    pub fn here() -> Self {
        Self::at(Path::new("/"))
    }

    fn at(root: &Path) -> Self {
        // A masked unit is a link to /dev/null, and cannot be started.
        let is_unit = |directory: &&str| root.join(directory).join("ollama-guard.service").is_file();
        if is_systemd(root) && UNITS.iter().any(is_unit) { Self::Systemd } else { Self::Other }
    }

    /// A command that starts the daemon.
    pub const fn start(self) -> &'static str {
        match self {
            Self::Systemd => "sudo systemctl start ollama-guard",
            Self::Other => "sudo ollama-guard run",
        }
    }

    /// How to start the daemon anew.
    pub const fn restart(self) -> &'static str {
        match self {
            Self::Systemd => "sudo systemctl restart ollama-guard",
            Self::Other => "end it, then sudo ollama-guard run",
        }
    }

    /// How to end the daemon, which leaves the port closed.
    pub const fn stop(self) -> &'static str {
        match self {
            Self::Systemd => "sudo systemctl stop ollama-guard",
            Self::Other => "send it SIGTERM",
        }
    }

    /// Where the daemon's log is.
    pub const fn log(self) -> &'static str {
        match self {
            Self::Systemd => "its log: journalctl -u ollama-guard",
            Self::Other => "its log (standard error)",
        }
    }
}

/// Was the host booted with systemd (`sd_booted(3)`)?
pub fn has_systemd() -> bool {
    is_systemd(Path::new("/"))
}

fn is_systemd(root: &Path) -> bool {
    root.join("run/systemd/system").is_dir()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn systemd_needs_to_run_and_to_have_the_unit() {
        let root = std::env::temp_dir().join(format!("ollama-guard-init-{}", std::process::id()));
        let of = || Init::at(&root);
        let make = |directory: &str| fs::create_dir_all(root.join(directory)).unwrap();
        assert_eq!(of(), Init::Other, "nothing is there");
        make("usr/lib/systemd/system");
        fs::write(root.join("usr/lib/systemd/system/ollama-guard.service"), "").unwrap();
        assert_eq!(of(), Init::Other, "a container's image has units, and no systemd");
        make("run/systemd/system");
        assert_eq!(of(), Init::Systemd);
        fs::remove_file(root.join("usr/lib/systemd/system/ollama-guard.service")).unwrap();
        assert_eq!(of(), Init::Other, "the program was copied here without its unit");
        make("etc/systemd/system");
        symlink("/dev/null", root.join("etc/systemd/system/ollama-guard.service")).unwrap();
        assert_eq!(of(), Init::Other, "masked");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn without_systemd_no_command_of_its_is_named() {
        let all = |init: Init| [init.start(), init.restart(), init.stop(), init.log()].join("\n");
        assert!(!all(Init::Other).contains("ctl"), "{}", all(Init::Other));
        assert_eq!(all(Init::Systemd).matches("ctl").count(), 4);
    }
}
