//! What may lead to a guarded port and cannot be told from here. It is left alone, and said.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Forward, Place};
use crate::init;
use crate::policy::Protocol;

/// Something that may lead to a guarded port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Unknown {
    /// A listening rootlessport (Podman's, before version 5) of which no engine says where it leads: it takes its orders
    /// from standard input.
    Rootlessport {
        /// Its transport.
        protocol: Protocol,
        /// The host's port.
        port: u16,
        /// Whose it is.
        user: u32,
    },
    /// A process says that it leads there, and we may not see whether the socket is its own.
    Proxy {
        /// What it says it is.
        through: String,
        /// Its transport.
        protocol: Protocol,
        /// The host's port.
        port: u16,
        /// Whose it is.
        user: u32,
    },
    /// An IPVS service for packets with this mark: which ports get it, another program's rules decide.
    Mark(u32),
    /// Docker listens here for a service of its swarm, and only the swarm's managers know where that leads.
    Swarm {
        /// Its transport.
        protocol: Protocol,
        /// The host's port.
        port: u16,
    },
    /// Such a program runs, and what it publishes changes its port inside a pod or a node that is a container.
    Orchestrator(String),
    /// Time was up before everything was looked at.
    Hurried,
}

impl Unknown {
    /// What a process says of itself.
    pub(super) fn proxy(forward: &Forward, (protocol, port): Place, user: u32) -> Self {
        Self::Proxy { through: forward.through.to_owned(), protocol, port, user }
    }

    /// What it is about.
    pub fn subject(&self) -> String {
        match self {
            Self::Rootlessport { protocol, port, .. }
            | Self::Proxy { protocol, port, .. }
            | Self::Swarm { protocol, port } => format!("{protocol} {port}"),
            Self::Mark(_) => "ipvs".to_owned(),
            Self::Orchestrator(name) => name.clone(),
            Self::Hurried => "proxied ports".to_owned(),
        }
    }

    /// What to do about it.
    pub fn next_step(&self) -> String {
        match self {
            Self::Rootlessport { user, .. } => format!(
                "let Podman's service answer: {}, as user {user}; or publish with --network=pasta",
                if init::has_systemd() {
                    "systemctl --user enable --now podman.socket"
                } else {
                    "podman system service --time=0"
                }
            ),
            Self::Proxy { port, .. } => format!(
                "look as root: sudo ollama-guard status; or add port {port} to a [[service]] in the configuration"
            ),
            Self::Mark(_) => "add the ports that get this mark to a [[service]] in the configuration".to_owned(),
            Self::Swarm { port, .. } => format!(
                "see docker service ls on a manager; if it leads to a guarded port, add {port} to a [[service]] in the \
                 configuration"
            ),
            Self::Orchestrator(_) => {
                "if a Service, an Ingress or a node's port leads to a guarded port, add its port to a [[service]] in the \
                 configuration"
                    .to_owned()
            }
            Self::Hurried => "see which user has that many processes: ps -eo user= | sort | uniq -c".to_owned(),
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unsure = "if to a guarded port, that is OPEN";
        match self {
            Self::Rootlessport { protocol, port, user } => {
                write!(f, "rootlessport of user {user} on {protocol} {port} does not say where it leads: {unsure}")
            }
            Self::Proxy { through, protocol, port, user } => write!(
                f,
                "{through} of user {user} says that {protocol} {port} leads to a guarded port, and it cannot be seen whether \
                 it listens there: the port is left alone"
            ),
            Self::Mark(mark) => {
                write!(f, "an IPVS service for packets with mark {mark} leads to a guarded port: {unsure}")
            }
            Self::Swarm { protocol, port } => write!(
                f,
                "Docker listens on {protocol} {port} for its swarm, and this worker does not know where that leads: {unsure}"
            ),
            Self::Orchestrator(name) => write!(
                f,
                "{name} runs here: where the ports that it publishes lead cannot be seen from the host: {unsure}"
            ),
            Self::Hurried => {
                f.write_str("time was up before all processes were looked at: a proxy may have been missed")
            }
        }
    }
}

/// As the kernel cuts it to 15 bytes; a child of the same name does the work.
pub(super) fn is_rootlessport(name: &str) -> bool {
    name.starts_with("rootlessport")
}

/// Programs that say that Kubernetes runs here, k3s's and kind's too.
pub(super) fn is_orchestrator(name: &str) -> bool {
    matches!(name, "kubelet" | "k3s-server" | "k3s-agent" | "kube-proxy")
}
