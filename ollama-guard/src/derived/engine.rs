//! What a container engine says of its containers: the answers of Docker's API, which Podman speaks too, and of slirp4netns.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Forward, arguments};
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
            "conmon" => drop(add(format!("{run}/podman/podman.sock"), Language::Docker)),
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

impl Language {
    /// Asks for what is published. HTTP/1.0: the answer ends where the connection does, and comes in one piece.
    pub(super) const fn question(self) -> &'static str {
        match self {
            Self::Docker => "GET /containers/json HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n",
            Self::Slirp4netns => r#"{"execute":"list_hostfwd"}"#,
        }
    }

    /// Reads the answer. None if it is not one.
    pub(super) fn forwards(self, answer: &str, user: Option<u32>) -> Option<Vec<Forward>> {
        match self {
            Self::Docker => {
                let (head, body) = answer.split_once("\r\n\r\n")?;
                head.split(' ').nth(1).filter(|status| *status == "200")?;
                Some(containers(&serde_json::from_str::<Vec<Container>>(body).ok()?, user))
            }
            Self::Slirp4netns => {
                let answer: Slirp = serde_json::from_str(answer).ok()?;
                Some(answer.r#return.entries.into_iter().filter_map(|entry| entry.forward(user)).collect())
            }
        }
    }
}

/// An element of Docker's `GET /containers/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the keys are Docker's")]
struct Port {
    private_port: u16,
    /// Absent or 0: not published.
    #[serde(default)]
    public_port: u16,
    r#type: String,
}

fn containers(containers: &[Container], user: Option<u32>) -> Vec<Forward> {
    let published = containers.iter().flat_map(|container| {
        let name = container.names.first().map(|name| name.trim_start_matches('/').to_owned());
        container.ports.iter().flatten().map(move |port| (name.clone(), port))
    });
    published
        .filter(|(_, port)| port.public_port != 0)
        .filter_map(|(container, port)| {
            let protocol = protocol(&port.r#type)?;
            let through = "published".to_owned();
            Some(Forward { protocol, port: port.public_port, target: port.private_port, container, through, user })
        })
        .collect()
}

#[derive(Deserialize)]
struct Slirp {
    r#return: Entries,
}

#[derive(Deserialize)]
struct Entries {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    proto: String,
    host_port: u16,
    guest_port: u16,
}

impl Entry {
    fn forward(self, user: Option<u32>) -> Option<Forward> {
        let (protocol, through) = (protocol(&self.proto)?, "slirp4netns".to_owned());
        Some(Forward { protocol, port: self.host_port, target: self.guest_port, container: None, through, user })
    }
}

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

    const DOCKER: &str = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n[\
        {\"Names\":[\"/open-webui-1\"],\"Ports\":[\
          {\"IP\":\"0.0.0.0\",\"PrivatePort\":11434,\"PublicPort\":8080,\"Type\":\"tcp\"},\
          {\"PrivatePort\":8443,\"Type\":\"tcp\"},{\"PrivatePort\":1,\"PublicPort\":1,\"Type\":\"sctp\"}]},\
        {\"Names\":[\"/other\"],\"Ports\":null}]";

    #[test]
    fn docker_names_the_container() {
        let forwards = Language::Docker.forwards(DOCKER, None).unwrap();
        let expected = Forward {
            protocol: Protocol::Tcp,
            port: 8080,
            target: 11434,
            container: Some("open-webui-1".into()),
            through: "published".into(),
            user: None,
        };
        assert_eq!(forwards, [expected]);
        for answer in ["", "HTTP/1.0 200 OK\r\n\r\n{}", "HTTP/1.0 500 Sorry\r\n\r\n[]"] {
            assert_eq!(Language::Docker.forwards(answer, None), None, "{answer:?}");
        }
    }

    #[test]
    fn slirp4netns_lists_its_forwards() {
        let answer = r#"{"return": {"entries": [{"id": 1, "proto": "tcp", "host_addr": "0.0.0.0", "host_port": 8080,
            "guest_addr": "10.0.2.100", "guest_port": 11434}]}}"#;
        let forwards = Language::Slirp4netns.forwards(answer, Some(1000)).unwrap();
        assert_eq!((forwards[0].port, forwards[0].target, forwards[0].user), (8080, 11434, Some(1000)));
        assert_eq!(Language::Slirp4netns.forwards(r#"{"error":{"desc":"no"}}"#, None), None);
    }

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
