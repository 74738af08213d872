//! **VLAN tags.** A tag of VID 0 carries a priority and belongs to no VLAN (IEEE 802.1Q §9.6): Linux takes the frame for an
//! untagged one, any number of such tags. A filter that expects the IP header at byte 14 sees an unknown protocol and lets it
//! pass; with two tags some that know one do (CVE-2021-27853, CVE-2021-27854, "L2 filters can be bypassed with VLAN 0 and
//! 802.1ad headers"). A tag of another VLAN belongs to the VLAN interface and is judged there; without one the host
//! ignores the frame.

use anyhow::Result;
use tests::layers::Layers;
use tests::packet::Tag;
use tests::{require, requires};

use crate::harness::audits;
use crate::harness::frames::{Aim, Frames, Variant};

audits!(vlan);

const OUTER_PRIORITY: Tag = Tag { kind: 0x88a8, priority: 3, vlan: 0 };

fn tagged(aim: Aim, tags: &[Tag]) -> Vec<Vec<u8>> {
    vec![aim.v4().tagged(tags).bytes()]
}

fn vlan(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    Frames::new(vec![
        Variant::new("a priority tag", |aim| tagged(aim, &[Tag::priority(5)])),
        Variant::new("a priority tag, IPv6", |aim| vec![aim.v6().tagged(&[Tag::priority(0)]).bytes()]),
        Variant::new("a priority tag of 802.1ad", |aim| tagged(aim, &[OUTER_PRIORITY])),
        Variant::new("two priority tags", |aim| tagged(aim, &[Tag::priority(0); 2])),
        Variant::new("802.1ad, then 802.1Q, both of VID 0", |aim| tagged(aim, &[OUTER_PRIORITY, Tag::priority(0)])),
        Variant::new("four priority tags", |aim| tagged(aim, &[Tag::priority(0); 4])),
        Variant::new("six priority tags", |aim| tagged(aim, &[Tag::priority(0); 6])).hides_its_port(),
        Variant::new("VLAN 5", |aim| tagged(aim, &[Tag::q(5)])).refused_by_the_kernel("no VLAN interface"),
        Variant::new("QinQ", |aim| tagged(aim, &[Tag::ad(5), Tag::q(7)])).refused_by_the_kernel("no VLAN interface"),
        Variant::new("a priority tag, then VLAN 5", |aim| tagged(aim, &[Tag::priority(0), Tag::q(5)]))
            .refused_by_the_kernel("no VLAN interface"),
    ])
    .run(layers)
}
