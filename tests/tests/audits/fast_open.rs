//! **TCP Fast Open.** With it the very first packet of a connection carries data, and the program on the port gets them
//! before any handshake (RFC 7413). Where the server asks no cookie, one packet with a forged source address is a
//! request: nothing that waits for an established connection is in time.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use tests::layers::Layers;
use tests::packet::{Network, Packet};
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Frames, Variant};

audits!(fast_open);

/// Clients and servers, without cookies, on every listening socket (`Documentation/networking/ip-sysctl.rst`).
const ON: &str = "1539";

fn fast_open(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(vec![
        Variant::new("a SYN with data from nobody", |aim| {
            let mut packet = Packet { payload: 64, ..aim.v4() };
            if let Network::V4(header) = &mut packet.network {
                header.source = Ipv4Addr::new(198, 18, 0, 66);
            }
            vec![packet.bytes()]
        })
        .accepted(),
        Variant::new("a SYN with data from nobody, IPv6", |aim| {
            let mut packet = Packet { payload: 64, ..aim.v6() };
            if let Network::V6(header) = &mut packet.network {
                header.source = Ipv6Addr::new(0x2001, 0xdb8, 0xdead, 0, 0, 0, 0, 1);
            }
            vec![packet.bytes()]
        })
        .accepted(),
    ])
    .with(&[("net.ipv4.tcp_fastopen", ON), ("net.ipv4.conf.all.rp_filter", "0")])
    .run(layers)
}
