//! Docker's API, which Podman speaks too: requests, and what the answers say of published ports.
//!
//! HTTP/1.0: the answer ends where the connection does, and comes in one piece.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::protocol;
use crate::derived::{Forward, Word, everywhere};

/// Asks for every container, running or not.
pub(super) fn list() -> String {
    request("/containers/json?all=1")
}

/// Asks for one container's settings.
pub(super) fn inspect(id: &str) -> String {
    request(&format!("/containers/{id}/json"))
}

/// Asks for the daemon's own settings.
pub(super) fn info() -> String {
    request("/info")
}

/// Asks for the services of its swarm.
pub(super) fn services() -> String {
    request("/services")
}

/// Asks to be told of containers that are made, started and removed, for as long as the connection lives.
pub(in crate::derived) fn events() -> String {
    // {"type":["container"],"event":["create","start","destroy"]}
    let filters =
        "%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22create%22%2C%22start%22%2C%22destroy%22%5D%7D";
    request(&format!("/events?filters={filters}"))
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n")
}

/// The body of an answer, if it is one.
pub(super) fn body<T: DeserializeOwned>(answer: &str) -> Option<T> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200")?;
    serde_json::from_str(body).ok()
}

/// An element of the answer to [`list`].
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    #[serde(default)]
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the keys are Docker's")]
struct Port {
    /// An address of this host; absent or empty: all of them.
    #[serde(default, rename = "IP")]
    ip: String,
    private_port: u16,
    /// Absent or 0: not published.
    #[serde(default)]
    public_port: u16,
    r#type: String,
}

impl Listed {
    /// Its id, if it is fit for a request.
    pub(super) fn id(&self) -> Option<&str> {
        Some(self.id.as_str()).filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    }

    /// Its name.
    pub(super) fn name(&self) -> Option<String> {
        self.names.first().map(|name| bare(name))
    }

    /// A container that does not run has no ports in the list; what it will publish, [`Inspected`] says.
    pub(super) fn is_idle(&self) -> bool {
        !matches!(self.state.as_str(), "running" | "paused" | "")
    }

    /// What it publishes now.
    pub(super) fn forwards(&self, user: u32) -> Vec<Forward> {
        let container = self.name();
        let ports = self.ports.iter().flatten().filter(|port| port.public_port != 0 && !self.is_idle());
        let forward = |port: &Port| {
            let word = if user == 0 { Word::Root(addresses(&port.ip)) } else { Word::User(user) };
            let forward = published(&port.r#type, port.public_port, port.private_port, container.clone())?;
            Some(Forward { running: true, word, ..forward })
        };
        ports.filter_map(forward).collect()
    }
}

/// The answer to [`inspect`].
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    #[serde(default)]
    name: String,
    host_config: HostConfig,
}

/// The same as a file: `containers/ID/hostconfig.json` below [`Info`]'s folder.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig {
    /// `{"11434/tcp": [{"HostIp": "", "HostPort": "8080"}]}`
    #[serde(default)]
    port_bindings: Option<BTreeMap<String, Option<Vec<Binding>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    /// An address of this host; empty: all of them.
    #[serde(default)]
    host_ip: String,
    /// Empty, or a range of which one is taken: not known before the start.
    #[serde(default)]
    host_port: String,
}

impl Inspected {
    /// What it will publish when it runs.
    pub(super) fn forwards(&self) -> Vec<Forward> {
        self.host_config.forwards(Some(&bare(&self.name)))
    }
}

impl HostConfig {
    /// What a container of this name will publish when it runs.
    pub(super) fn forwards(&self, container: Option<&str>) -> Vec<Forward> {
        let bindings = self.port_bindings.iter().flatten();
        let pairs = bindings.flat_map(|(place, bindings)| bindings.iter().flatten().map(move |one| (place, one)));
        let forward = |(place, binding): (&String, &Binding)| {
            let (target, kind) = place.split_once('/')?;
            let port = binding.host_port.parse().ok().filter(|port| *port != 0)?;
            let forward = published(kind, port, target.parse().ok()?, container.map(str::to_owned))?;
            Some(Forward { word: Word::Root(addresses(&binding.host_ip)), ..forward })
        };
        pairs.filter_map(forward).collect()
    }
}

/// The answer to [`info`].
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    docker_root_dir: PathBuf,
}

impl Info {
    /// Where it keeps its containers.
    pub(super) fn containers(self) -> PathBuf {
        self.docker_root_dir.join("containers")
    }
}

/// An element of the answer to [`services`].
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    endpoint: Endpoint,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    #[serde(default)]
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(default)]
    ports: Option<Vec<SwarmPort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SwarmPort {
    protocol: String,
    target_port: u16,
    #[serde(default)]
    published_port: u16,
    #[serde(default)]
    publish_mode: String,
}

/// What the swarm's ingress publishes on every node: a translation in a namespace of its own turns the port into the
/// container's, where no rule of ours sees it. (`mode=host` is published as any container's port is.)
pub(super) fn ingress(answer: &str) -> Vec<Forward> {
    let services: Vec<Service> = body(answer).unwrap_or_default();
    let forward = |name: &str, port: &SwarmPort| {
        let is_ingress = port.publish_mode != "host" && port.published_port != 0;
        let forward = published(&port.protocol, port.published_port, port.target_port, Some(bare(name)));
        Some(Forward { through: "swarm", running: true, ..forward.filter(|_| is_ingress)? })
    };
    let of = |service: &Service| {
        service.endpoint.ports.iter().flatten().filter_map(|port| forward(&service.spec.name, port)).collect::<Vec<_>>()
    };
    services.iter().flat_map(of).collect()
}

/// Did a node that works for a swarm, and does not manage it, decline to answer [`services`]? (One of no swarm declines too,
/// in other words: `errNoSwarm`, `errNoManager` in `daemon/cluster/errors.go`.)
pub(super) fn is_worker(answer: &str) -> bool {
    let declined = answer.split(' ').nth(1) == Some("503");
    declined && answer.contains("Worker nodes can't be used")
}

/// Names begin with a slash.
fn bare(name: &str) -> String {
    name.trim_start_matches('/').to_owned()
}

fn published(kind: &str, port: u16, target: u16, container: Option<String>) -> Option<Forward> {
    let (protocol, ports, word) = (protocol(kind)?, port..=port, Word::Root(everywhere()));
    Some(Forward { protocol, ports, target, container, through: "published", running: false, word })
}

/// What cannot be read is every address: the port leads there at some of them.
fn addresses(text: &str) -> BTreeSet<IpAddr> {
    text.parse().map_or_else(|_| everywhere(), |address: IpAddr| [address.to_canonical()].into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Protocol;

    fn answer(body: &str) -> String {
        format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}")
    }

    fn forward(running: bool) -> Forward {
        Forward {
            protocol: Protocol::Tcp,
            ports: 8080..=8080,
            target: 11434,
            container: Some("open-webui-1".into()),
            through: "published",
            running,
            word: Word::Root(if running { addresses("0.0.0.0") } else { everywhere() }),
        }
    }

    #[test]
    fn what_runs_names_its_ports() {
        let list = answer(
            r#"[{"Id":"4f","Names":["/open-webui-1"],"State":"running","Ports":[
                {"IP":"0.0.0.0","PrivatePort":11434,"PublicPort":8080,"Type":"tcp"},
                {"PrivatePort":8443,"Type":"tcp"},{"PrivatePort":1,"PublicPort":1,"Type":"sctp"}]},
               {"Id":"../x","Names":["/other"],"State":"exited","Ports":null}]"#,
        );
        let listed: Vec<Listed> = body(&list).unwrap();
        assert_eq!(listed[0].forwards(0), [forward(true)]);
        assert_eq!(listed[0].forwards(1000), [Forward { word: Word::User(1000), ..forward(true) }]);
        assert_eq!((listed[0].id(), listed[0].is_idle()), (Some("4f"), false));
        assert_eq!((listed[1].id(), listed[1].is_idle()), (None, true));
        for answer in ["", "HTTP/1.0 200 OK\r\n\r\n{}", "HTTP/1.0 500 Sorry\r\n\r\n[]"] {
            assert!(body::<Vec<Listed>>(answer).is_none(), "{answer:?}");
        }
    }

    #[test]
    fn what_does_not_run_says_what_it_will_publish() {
        let inspected = answer(
            r#"{"Name":"/open-webui-1","HostConfig":{"PortBindings":{"11434/tcp":[{"HostIp":"","HostPort":"8080"},
                {"HostPort":""},{"HostPort":"9000-9010"}],"80/tcp":null}}}"#,
        );
        assert_eq!(body::<Inspected>(&inspected).unwrap().forwards(), [forward(false)]);
        let none = body::<Inspected>(&answer(r#"{"Name":"/x","HostConfig":{"PortBindings":null}}"#)).unwrap();
        assert_eq!(none.forwards(), []);
    }

    #[test]
    fn a_port_is_published_at_one_address_or_all() {
        let at = |text: &str| addresses(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(at("127.0.0.1"), ["127.0.0.1"]);
        assert_eq!(at("0.0.0.0"), ["0.0.0.0"], "IPv6 is an entry of its own");
        assert_eq!((at(""), at("?")), (at("x"), vec!["0.0.0.0".to_owned(), "::".to_owned()]));
    }

    #[test]
    fn a_swarm_s_ingress_is_published_on_every_node() {
        let services = answer(
            r#"[{"Spec":{"Name":"ollama"},"Endpoint":{"Ports":[
                {"Protocol":"tcp","TargetPort":11434,"PublishedPort":8080,"PublishMode":"ingress"},
                {"Protocol":"tcp","TargetPort":11434,"PublishedPort":8081,"PublishMode":"host"},
                {"Protocol":"tcp","TargetPort":80}]}},{"Spec":{"Name":"x"},"Endpoint":{}},{}]"#,
        );
        let found = ingress(&services);
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!((one.port_to(11434), one.container.as_deref()), (Some(8080), Some("ollama")));
        assert_eq!((&one.word, one.through, one.running), (&Word::Root(everywhere()), "swarm", true));
    }

    /// The words of moby's `daemon/cluster/errors.go`.
    #[test]
    fn a_worker_is_told_from_a_node_of_no_swarm() {
        let declined = |why: &str| format!("HTTP/1.0 503 Service Unavailable\r\n\r\n{{\"message\":\"{why}\"}}");
        assert!(is_worker(&declined("This node is not a swarm manager. Worker nodes can't be used to view or modify")));
        assert!(!is_worker(&declined("This node is not a swarm manager. Use \\\"docker swarm init\\\" or")));
        assert!(!is_worker(&answer("Worker nodes can't be used")));
    }
}
