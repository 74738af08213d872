//! Virtual services of IPVS (keepalived, kube-proxy): the kernel rewrites packets to them behind every hook of ours that sees
//! the port they end at, so that they are proxied ports too. Read from `/proc/net/ip_vs` (`ip_vs_info_seq_show`,
//! `net/netfilter/ipvs/ip_vs_ctl.c`). Only root makes them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr};

use super::{Forward, Word};
use crate::policy::Protocol;

/// Bytes of the table: some ten thousand services.
const LONGEST: u64 = 4 * 1024 * 1024;

/// What leads to a wanted port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct VirtualServices {
    /// Addresses and ports that do.
    pub(super) forwards: Vec<Forward>,
    /// Marks of packets that do, whatever their port is: which one, a rule of some firewall decides.
    pub(super) marks: BTreeSet<u32>,
}

/// This network namespace's. `wanted`: a port that is guarded.
pub(super) fn read(wanted: impl Fn(Protocol, u16) -> bool) -> VirtualServices {
    let table = File::open("/proc/thread-self/net/ip_vs").map(|file| BufReader::new(file.take(LONGEST)));
    table.map(|table| parse(table, wanted)).unwrap_or_default()
}

#[derive(Clone, Copy)]
enum Virtual {
    Endpoint(Protocol, IpAddr, u16),
    Mark(u32),
}

fn parse(table: impl BufRead, wanted: impl Fn(Protocol, u16) -> bool) -> VirtualServices {
    let (mut found, mut current) = (VirtualServices::default(), None);
    for line in table.lines().map_while(Result::ok) {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("->"), Some(real)) => match (current, endpoint(real)) {
                (Some(Virtual::Endpoint(protocol, address, port)), Some((server, target)))
                    if wanted(protocol, target) =>
                {
                    found.forwards.push(forward(protocol, address, port, server, target));
                }
                (Some(Virtual::Mark(mark)), Some((_, target))) => {
                    if [Protocol::Tcp, Protocol::Udp].into_iter().any(|protocol| wanted(protocol, target)) {
                        found.marks.insert(mark);
                    }
                }
                _ => {}
            },
            (Some(kind), Some(place)) => current = service(kind, place),
            _ => {}
        }
    }
    found
}

fn service(kind: &str, place: &str) -> Option<Virtual> {
    let protocol = match kind {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "FWM" => return u32::from_str_radix(place, 16).ok().map(Virtual::Mark),
        _ => return None,
    };
    endpoint(place).map(|(address, port)| Virtual::Endpoint(protocol, address, port))
}

/// `0A5B0001:1F90`, `[fd91:0000:0000:0000:0000:0000:0000:0001]:1F90`.
fn endpoint(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let v6 = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match v6 {
        Some(v6) => IpAddr::V6(v6.parse().ok()?),
        None => IpAddr::V4(Ipv4Addr::from_bits(u32::from_str_radix(address, 16).ok()?)),
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

fn forward(protocol: Protocol, address: IpAddr, port: u16, server: IpAddr, target: u16) -> Forward {
    let word = Word::Root([address].into());
    let (container, ports) = (Some(server.to_string()), port..=port);
    Forward { protocol, ports, target, container, through: "ipvs", running: true, word }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A5B0001:1F90 rr 
  -> AC110002:2CAA      Masq    1      0          0         
  -> AC110003:0050      Masq    1      0          0         
TCP  0A5B0001:0050 wlc persistent 300
  -> AC110002:0050      Masq    1      0          0         
TCP  [fd91:0000:0000:0000:0000:0000:0000:0001]:1F90 rr 
  -> [fd00:0000:0000:0000:0000:0000:0000:0002]:2CAA      Masq    1      0          0         
UDP  0A5B0001:1F91 rr 
  -> AC110002:2CAA      Masq    1      0          0         
FWM  00000007 rr 
  -> AC110002:2CAA      Masq    1      0          0         
FWM  00000008 IPv6 rr 
  -> [fd00:0000:0000:0000:0000:0000:0000:0002]:0050      Masq    1      0          0         
SCTP 0A5B0001:1F90 rr 
  -> AC110002:2CAA      Masq    1      0          0         
";

    #[test]
    fn services_with_a_guarded_port_behind_them_are_found() {
        let found = parse(TABLE.as_bytes(), |protocol, port| (protocol, port) == (Protocol::Tcp, 11434));
        let words: Vec<_> =
            found.forwards.iter().map(|one| (one.ports.clone(), one.word.clone(), one.container.clone())).collect();
        let root = |address: &str| Word::Root([address.parse().unwrap()].into());
        assert_eq!(
            words,
            [
                (8080..=8080, root("10.91.0.1"), Some("172.17.0.2".to_owned())),
                (8080..=8080, root("fd91::1"), Some("fd00::2".to_owned())),
            ]
        );
        assert_eq!(found.marks, [7].into());
    }

    #[test]
    fn anything_else_is_stepped_over() {
        for table in ["", "TCP\n->\n", "TCP x:y rr\n  -> 0:0 Masq\n", "  -> AC110002:2CAA Masq 1 0 0\n", "\u{0}\n"] {
            assert_eq!(parse(table.as_bytes(), |_, _| true), VirtualServices::default(), "{table:?}");
        }
    }
}
