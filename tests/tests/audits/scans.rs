//! **Scans without a handshake.** A packet that belongs to no connection still makes TCP tell whether a port is open: a
//! closed one answers FIN, NULL and XMAS packets with a reset and an open one stays silent; ACK packets are answered with a
//! reset wherever no firewall keeps state (RFC 9293 §3.10.7; `nmap -sF -sN -sX -sA`, <https://nmap.org/book/scan-methods.html>).
//! Firewalls that look at SYN packets only let all of these through.

use anyhow::Result;
use tests::layers::Layers;
use tests::packet::flags;
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Frames, Variant};

audits!(scans);

fn scans(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(vec![
        Variant::new("ACK", |aim| vec![aim.v4().flags(flags::ACK).bytes()]),
        Variant::new("ACK by IPv6", |aim| vec![aim.v6().flags(flags::ACK).bytes()]),
        Variant::new("SYN and ACK", |aim| vec![aim.v4().flags(flags::SYN | flags::ACK).bytes()]),
        Variant::new("SYN and FIN", |aim| vec![aim.v4().flags(flags::SYN | flags::FIN).bytes()]).unanswered(),
        Variant::new("RST", |aim| vec![aim.v4().flags(flags::RST).bytes()]).unanswered(),
        Variant::new("FIN", |aim| vec![aim.v4().flags(flags::FIN).bytes()]).unanswered(),
        Variant::new("NULL", |aim| vec![aim.v4().flags(flags::NULL).bytes()]).unanswered(),
        Variant::new("XMAS", |aim| vec![aim.v4().flags(flags::XMAS).bytes()]).unanswered(),
        Variant::new("XMAS by IPv6", |aim| vec![aim.v6().flags(flags::XMAS).bytes()]).unanswered(),
        Variant::new("every flag", |aim| vec![aim.v4().flags(0xff).bytes()]).unanswered(),
    ])
    .run(layers)
}
