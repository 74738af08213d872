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
use crate::quota::Quota;

/// Names of processes that tell that an engine, or a container of one, runs.
pub(super) fn is_engine(name: &str) -> bool {
    matches!(name, "dockerd" | "conmon" | "containerd-shim" | "slirp4netns")
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Socket {
    /// Whose word it is; root's are asked first.
    pub(super) user: u32,
    pub(super) path: PathBuf,
    pub(super) language: Language,
}

/// What is spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Language {
    Docker,
    /// Docker's, by a service that systemd starts when asked and that ends when left alone.
    Podman,
    Slirp4netns,
}

/// The sockets of the engine that this process tells of. One that does not run is not asked: its socket may belong to
/// systemd, which would start it.
///
/// Root's engine in another namespace publishes there, and what is root in a container is not. A user's own is always in
/// one, and forwards to here.
pub(super) fn sockets(process: &Process) -> Vec<Socket> {
    let user = process.user;
    if user == 0 && !(process.here && process.outermost) {
        return Vec::new();
    }
    let run = if user == 0 { "/run".to_owned() } else { format!("/run/user/{user}") };
    let socket = |path: &str, language| Socket { user, path: path.into(), language };
    match process.name.as_str() {
        "dockerd" => match arguments::docker_sockets(process) {
            told if told.is_empty() => vec![socket(&format!("{run}/docker.sock"), Language::Docker)],
            told => told.into_iter().take(MOST_TOLD).map(|path| socket(path, Language::Docker)).collect(),
        },
        "conmon" => vec![socket(&format!("{run}/podman/podman.sock"), Language::Podman)],
        "slirp4netns" => {
            let option = process.arguments.iter().position(|argument| argument == "--api-socket");
            let path = option.and_then(|at| process.arguments.get(at + 1));
            path.map(|path| socket(path, Language::Slirp4netns)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Sockets of one process.
const MOST_TOLD: usize = 4;

/// Those that are asked: of root, of each user, of all users.
pub(super) fn asked(sockets: impl IntoIterator<Item = Socket>) -> BTreeSet<Socket> {
    let mut quota = Quota::new(16, 32, 128);
    let sockets: BTreeSet<_> = sockets.into_iter().collect();
    sockets.into_iter().filter(|socket| quota.take(socket.user)).collect()
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

    fn process(title: &str, user: u32) -> Process {
        let arguments: Vec<_> = title.split(' ').map(str::to_owned).collect();
        Process { id: 1, name: arguments[0].clone(), user, outermost: true, here: true, arguments }
    }

    #[test]
    fn each_engine_is_asked_where_it_listens() {
        let engines = [
            process("dockerd -H fd://", 0),
            process("dockerd", 1000),
            process("conmon -n ollama", 0),
            process("conmon -n web", 1000),
            process("slirp4netns --api-socket /tmp/api.sock 7 tap0", 1000),
            process("rootlessport", 1000),
        ];
        let sockets = asked(engines.iter().flat_map(sockets));
        let paths: Vec<_> = sockets.iter().map(|socket| (socket.path.to_str().unwrap(), socket.user)).collect();
        assert_eq!(
            paths,
            [
                ("/run/docker.sock", 0),
                ("/run/podman/podman.sock", 0),
                ("/run/user/1000/docker.sock", 1000),
                ("/run/user/1000/podman/podman.sock", 1000),
                ("/tmp/api.sock", 1000),
            ]
        );
    }

    #[test]
    fn root_s_engine_elsewhere_and_root_in_a_container_are_not_asked() {
        let root = process("dockerd", 0);
        assert!(sockets(&Process { here: false, ..root.clone() }).is_empty());
        assert!(sockets(&Process { outermost: false, ..root }).is_empty());
        let user = process("dockerd", 1000);
        assert_eq!(sockets(&Process { here: false, outermost: false, ..user }).len(), 1);
    }

    #[test]
    fn a_user_with_many_engines_keeps_nobody_from_being_asked() {
        let his = (0..5000).map(|nth| process(&format!("slirp4netns --api-socket /a{nth}"), 1000));
        let hers = process("slirp4netns --api-socket /z", 1001);
        let root = process("dockerd -H unix:///z.sock", 0);
        let all: Vec<_> = his.chain([hers, root]).collect();
        let asked = asked(all.iter().flat_map(sockets));
        assert_eq!(asked.len(), 32 + 2);
        assert!(sockets(&process(&format!("dockerd{}", " -H unix:///x".repeat(100)), 1000)).len() <= MOST_TOLD);
    }
}
