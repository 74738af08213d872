//! What proxies say on their command lines.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::{Forward, Word};
use crate::policy::Protocol;
use crate::procfs::Process;

/// Forwards of one process: a command line can repeat a range of ports a thousand times.
const MOST: usize = 256;

/// Names of proxies whose arguments say where they lead, as the kernel cuts them to 15 bytes.
pub(super) fn is_proxy(name: &str) -> bool {
    matches!(name, "docker-proxy" | "rootlesskit-doc") || is_pasta(name)
}

/// pasta is a link to passt, which runs as a build of itself for the processor at hand: the kernel calls it `passt.avx2`
/// or, in other versions, `pasta.avx2`. What passt does for a virtual machine is the same, with the same options.
fn is_pasta(name: &str) -> bool {
    matches!(name.split('.').next(), Some("pasta" | "passt"))
}

/// What a process forwards.
pub(super) fn forwards(process: &Process) -> Vec<Forward> {
    if is_pasta(&process.name) { pasta(process) } else { docker_proxy(process).into_iter().collect() }
}

/// `docker-proxy -proto tcp -host-ip :: -host-port 8080 -container-ip 172.17.0.2 -container-port 11434`.
fn docker_proxy(process: &Process) -> Option<Forward> {
    let value = |key| options(process).find(|(name, _)| *name == key).map(|(_, value)| value);
    let protocol = match value("proto") {
        None | Some("tcp") => Protocol::Tcp,
        Some("udp") => Protocol::Udp,
        Some(_) => return None,
    };
    Some(Forward {
        protocol,
        ports: one(value("host-port")?.parse().ok()?),
        target: value("container-port")?.parse().ok()?,
        container: value("container-ip").and_then(|text| Some(text.parse::<IpAddr>().ok()?.to_string())),
        through: "docker-proxy",
        running: true,
        word: word(process),
    })
}

/// `pasta -t 0.0.0.0/8080-8081:11434-11435,9000 -u none …`. What keeps its number (`auto`, `all`) derives nothing.
fn pasta(process: &Process) -> Vec<Forward> {
    let listed = options(process).filter_map(|(name, value)| match name {
        "t" | "tcp-ports" => Some((Protocol::Tcp, value)),
        "u" | "udp-ports" => Some((Protocol::Udp, value)),
        _ => None,
    });
    let forward = |protocol, (ports, target)| Forward {
        protocol,
        ports,
        target,
        container: None,
        through: "pasta",
        running: true,
        word: word(process),
    };
    let pairs = listed.flat_map(|(protocol, list)| pasta_ports(list).into_iter().map(move |pair| (protocol, pair)));
    pairs.take(MOST).map(|(protocol, pair)| forward(protocol, pair)).collect()
}

/// `[address[%interface]/]port[-port][:target[-target]]`, several with commas between.
fn pasta_ports(list: &str) -> Vec<(RangeInclusive<u16>, u16)> {
    let list = list.rsplit_once('/').map_or(list, |(_, ports)| ports);
    let one = |spec: &str| {
        let (ports, targets) = spec.split_once(':').unwrap_or((spec, spec));
        let ((first, end), (target, _)) = (range(ports)?, range(targets)?);
        Some((first..=end, target))
    };
    list.split(',').filter_map(one).take(MOST).collect()
}

const fn one(port: u16) -> RangeInclusive<u16> {
    port..=port
}

const fn word(process: &Process) -> Word {
    Word::Process { id: process.id, user: process.user }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Options with their values: `-key value`, `--key value`, `-key=value`.
fn options(process: &Process) -> impl Iterator<Item = (&str, &str)> {
    let rest = |at: usize| process.arguments.get(at + 1).map_or("", String::as_str);
    process.arguments.iter().enumerate().filter_map(move |(at, argument)| {
        let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
        Some(name.split_once('=').unwrap_or((name, rest(at))))
    })
}

/// The unix sockets on which a Docker daemon was told to listen: `-H unix:///run/docker.sock`.
pub(super) fn docker_sockets(process: &Process) -> Vec<&str> {
    let hosts = options(process).filter(|(name, _)| matches!(*name, "H" | "host"));
    hosts.filter_map(|(_, value)| value.strip_prefix("unix://")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(title: &str) -> Process {
        let arguments: Vec<_> = title.split(' ').map(str::to_owned).collect();
        let name = arguments[0].rsplit('/').next().unwrap().chars().take(15).collect();
        Process { id: 1, name, user: 1000, outermost: true, here: true, arguments }
    }

    fn pairs(title: &str) -> Vec<(Protocol, u16, u16)> {
        let first = |forward: Forward| (forward.protocol, *forward.ports.start(), forward.target);
        forwards(&process(title)).into_iter().map(first).collect()
    }

    #[test]
    fn a_proxy_is_known_by_the_name_that_the_kernel_has_for_it() {
        for name in ["docker-proxy", "rootlesskit-doc", "pasta", "pasta.avx2", "passt", "passt.avx2"] {
            assert!(is_proxy(name), "{name}");
        }
        for name in ["docker", "dockerd", "docker-proxy.2", "pastafarian", "nginx", ""] {
            assert!(!is_proxy(name), "{name}");
        }
    }

    #[test]
    fn docker_proxy_names_both_ends() {
        let title = "/usr/sbin/docker-proxy -proto tcp -host-ip :: -host-port 8080 -container-ip 172.17.0.2 \
                     -container-port 11434";
        let expected = Forward {
            protocol: Protocol::Tcp,
            ports: 8080..=8080,
            target: 11434,
            container: Some("172.17.0.2".into()),
            through: "docker-proxy",
            running: true,
            word: Word::Process { id: 1, user: 1000 },
        };
        assert_eq!(forwards(&process(title)), [expected]);
        assert_eq!(pairs("rootlesskit-docker-proxy --host-port=1 --container-port=2"), [(Protocol::Tcp, 1, 2)]);
        for faulty in
            ["docker-proxy", "docker-proxy -host-port", "docker-proxy -proto sctp -host-port 1 -container-port 2"]
        {
            assert_eq!(pairs(faulty), [], "{faulty}");
        }
    }

    #[test]
    fn pasta_maps_ranges() {
        let tcp = |port, target| (Protocol::Tcp, port, target);
        for program in ["/usr/bin/pasta.avx2", "pasta", "passt.avx2"] {
            assert_eq!(pairs(&format!("{program} --config-net -t 8080:11434 -u none")), [tcp(8080, 11434)]);
        }
        assert_eq!(
            pairs("pasta -t 0.0.0.0/80-81:11434-11435,9 --udp-ports=::1%lo/5:6"),
            [tcp(80, 11434), tcp(9, 9), (Protocol::Udp, 5, 6)]
        );
        assert_eq!(pairs("pasta -t auto -T 8080:11434 -t ~9 -t 70000"), []);
        assert_eq!(pairs("pasta -t 65535-65535:11434-65535"), [tcp(65535, 11434)]);
        let [range] = &forwards(&process("pasta -t 80-90:11430-11440"))[..] else { panic!("one range") };
        assert_eq!((range.port_to(11434), range.port_to(11441), range.port_to(80)), (Some(84), None, None));
        assert_eq!(range.target_of((Protocol::Tcp, 84)), Some(11434));
        let whole = &forwards(&process("pasta -t 1-65535:11434"))[0];
        assert_eq!((whole.port_to(11434), whole.target_of((Protocol::Tcp, 60_000))), (Some(1), None));
        assert_eq!(pairs(&format!("pasta{}", " -t 1-65535".repeat(1000))).len(), MOST);
    }

    #[test]
    fn docker_says_where_it_listens() {
        let sockets = |title| docker_sockets(&process(title)).into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(sockets("dockerd -H unix:///a.sock --host=unix:///b.sock -H tcp://1.2.3.4"), ["/a.sock", "/b.sock"]);
        assert_eq!(sockets("dockerd -H fd://"), Vec::<String>::new());
    }
}
