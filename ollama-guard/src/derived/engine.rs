//! Which container engines run, and where they answer.

mod ask;
pub(super) mod docker;
mod slirp4netns;

use std::collections::BTreeSet;
use std::path::PathBuf;

pub(super) use ask::Engines;

use super::arguments;
use crate::policy::Protocol;
use crate::procfs::Process;

/// Names of processes that tell that an engine, or a container of one, runs.
pub(super) fn is_engine(name: &str) -> bool {
    matches!(name, "dockerd" | "conmon" | "containerd-shim" | "slirp4netns" | "rootlessport")
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Socket {
    pub(super) path: PathBuf,
    pub(super) language: Language,
    /// Whose word it is; none for root's.
    pub(super) user: Option<u32>,
}

/// What is spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Language {
    Docker,
    /// Docker's, by a service that systemd starts when asked and that ends when left alone.
    Podman,
    Slirp4netns,
}

/// The sockets of the engines that run. One that does not is not asked: its socket may belong to systemd, which would
/// start it.
pub(super) fn sockets(processes: &[Process]) -> BTreeSet<Socket> {
    let mut sockets = BTreeSet::new();
    for process in processes {
        let user = (process.user != 0).then_some(process.user);
        let run = user.map_or_else(|| "/run".to_owned(), |user| format!("/run/user/{user}"));
        let mut add = |path: String, language| sockets.insert(Socket { path: path.into(), language, user });
        match process.name.as_str() {
            "dockerd" => {
                let told = arguments::docker_sockets(process);
                if told.is_empty() {
                    add(format!("{run}/docker.sock"), Language::Docker);
                }
                for path in told {
                    add(path.to_owned(), Language::Docker);
                }
            }
            "conmon" => drop(add(format!("{run}/podman/podman.sock"), Language::Podman)),
            "slirp4netns" => {
                let option = process.arguments.iter().position(|argument| argument == "--api-socket");
                if let Some(path) = option.and_then(|at| process.arguments.get(at + 1)) {
                    add(path.clone(), Language::Slirp4netns);
                }
            }
            _ => {}
        }
    }
    sockets
}

/// A transport by the name that engines use.
fn protocol(name: &str) -> Option<Protocol> {
    match name {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_is_asked_where_it_listens() {
        let process = |title: &str, user| {
            let arguments: Vec<_> = title.split(' ').map(str::to_owned).collect();
            Process { id: 1, name: arguments[0].clone(), user, namespace: None, arguments }
        };
        let engines = [
            process("dockerd -H fd://", 0),
            process("dockerd", 1000),
            process("conmon -n ollama", 0),
            process("conmon -n web", 1000),
            process("slirp4netns --api-socket /tmp/api.sock 7 tap0", 1000),
            process("rootlessport", 1000),
        ];
        let sockets = sockets(&engines);
        let mut paths: Vec<_> = sockets.iter().map(|socket| (socket.path.to_str().unwrap(), socket.user)).collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                ("/run/docker.sock", None),
                ("/run/podman/podman.sock", None),
                ("/run/user/1000/docker.sock", Some(1000)),
                ("/run/user/1000/podman/podman.sock", Some(1000)),
                ("/tmp/api.sock", Some(1000)),
            ]
        );
    }
}
