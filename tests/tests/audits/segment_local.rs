//! **An IP packet in an IPv6 packet, unwrapped on the spot.** A route with `encap seg6local action End.DT6` (DX4, DT4, DT46:
//! `SRv6`, RFC 8986 §4.4 to 4.8) takes the outer header off and hands the inner packet to the host, as if it had come in by the same
//! interface; no segment routing header is needed (`decap_and_validate`, `net/ipv6/seg6_local.c`). What looks at the interface sees
//! the outer packet only, next header 41 or 4. The guard reads the inner packet's port: to a guarded port it is dropped, to
//! another it passes, and so does what an ordinary tunnel carries. Whoever unwraps checks little of the inner packet: what he
//! would read otherwise counts as hidden.

use std::path::Path;

use anyhow::Result;
use tests::layers::Layers;
use tests::packet::{Extension, Fragment, Network, Packet, V6};
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Aim, Frames, Variant};

audits!(segment_local);

const OPTIONS: Extension = Extension::Destination(0);
/// In table 255 are the host's own addresses. The device says nothing of where packets come from.
const ROUTES: &str = "route replace 2001:db8:6::6/128 encap seg6local action End.DT6 table 255 dev INTERFACE\n\
                      route replace 2001:db8:6::4/128 encap seg6local action End.DX4 nh4 0.0.0.0 dev INTERFACE";

/// To a segment that unwraps IPv6, or one that unwraps IPv4; behind these headers.
fn around(aim: Aim, chain: &[Extension], inner: Packet) -> Vec<Vec<u8>> {
    let last = if matches!(inner.network, Network::V4(_)) { 4 } else { 6 };
    let to = format!("2001:db8:6::{last}").parse().unwrap_or(aim.to.v6);
    let outer = Packet { network: Network::V6(V6::new(aim.from.v6, to)), ..Packet::v6(0) };
    vec![outer.behind(chain).carrying(inner).bytes()]
}

fn segment_local(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    if !Path::new("/proc/sys/net/ipv6/conf/lo/seg6_enabled").exists() {
        requires::skipped("this kernel has no segment routing");
        return Ok(());
    }
    Frames::new(vec![
        Variant::new("IPv6", |aim| around(aim, &[], aim.v6())),
        Variant::new("IPv4", |aim| around(aim, &[], aim.v4())),
        Variant::new("IPv6, behind destination options", |aim| around(aim, &[OPTIONS], aim.v6())),
        Variant::new("IPv4, behind destination options", |aim| around(aim, &[OPTIONS, OPTIONS], aim.v4())),
        Variant::new("IPv6, behind hop-by-hop options", |aim| around(aim, &[Extension::HopByHop(0)], aim.v6()))
            .refused_by_some_kernels("those that take the next header from where the options ended")
            .hides_its_port(),
        Variant::new("IPv4, behind hop-by-hop options", |aim| around(aim, &[Extension::HopByHop(0)], aim.v4()))
            .refused_by_some_kernels("those that take the next header from where the options ended")
            .hides_its_port(),
        Variant::new("IPv4 that claims options", |aim| {
            around(aim, &[], aim.v4().with_v4(|header| header.claimed_words = Some(6)))
        })
        .refused_by_some_kernels("those that ask for the length of a header")
        .hides_its_port()
        .deceives_rules(),
        Variant::new("IPv6, in an atomic fragment", |aim| {
            around(aim, &[Extension::Fragment(Fragment::WHOLE)], aim.v6())
        }),
        Variant::new("IPv6 with options of its own", |aim| around(aim, &[], aim.v6().behind(&[OPTIONS]))),
        Variant::new("padded", |aim| {
            around(aim, &[], aim.v6()).into_iter().map(|frame| [frame.as_slice(), &[0; 20]].concat()).collect()
        }),
        Variant::new("IPv6 of another version", |aim| around(aim, &[], aim.v6().with_v6(|header| header.version = 7)))
            .hides_its_port(),
        Variant::new("twice", |aim| {
            around(aim, &[], Packet::v6(0).with_v6(|header| *header = to(aim)).carrying(aim.v6()))
        })
        .refused_by_some_kernels("those that route an unwrapped packet once more")
        .hides_its_port(),
    ])
    .after(ROUTES)
    .run(layers)
}

fn to(aim: Aim) -> V6 {
    V6::new(aim.from.v6, "2001:db8:6::6".parse().unwrap_or(aim.to.v6))
}
