//! What is read is what was made.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use ollama_guard::links::{Hardware, Kind, Links};

use crate::namespace::{Namespace, by_name, ip};

#[test]
fn a_new_namespace_has_its_loopback_alone() {
    let Some(_namespace) = Namespace::enter() else { return };
    let links = Links::read().unwrap();
    let lo = by_name("lo");
    assert_eq!((lo.kind, lo.hardware, lo.up), (Kind::Loopback, Hardware::Loopback, false));
    // Kernels may put tunnel devices into every namespace; none of them is a NIC.
    assert!(links.iter().all(|link| !link.physical));
}

#[test]
fn every_kind_is_recognised() {
    let Some(_namespace) = Namespace::enter() else { return };
    ip("link add br0 type bridge");
    ip("link add v0 type veth peer name v1");
    ip("link add link v0 name mv0 type macvlan mode bridge");
    ip("link add link v0 name mt0 type macvtap mode bridge");
    ip("tuntap add dev tun0 mode tun");
    ip("tuntap add dev tap0 mode tap");
    ip("link add vx0 type vxlan id 7 dstport 4789 dev v1");
    ip("link set tap0 master br0");
    ip("link set v0 up mtu 1400");

    let kinds = ["br0", "v0", "mv0", "mt0", "tun0", "tap0", "vx0"].map(|name| by_name(name).kind);
    let vxlan = Kind::Tunnel("vxlan".to_owned());
    assert_eq!(kinds, [Kind::Bridge, Kind::Veth, Kind::Macvlan, Kind::Macvtap, Kind::Tun, Kind::Tap, vxlan]);
    assert_eq!(by_name("tun0").hardware, Hardware::Other(0xfffe));
    assert_eq!(by_name("tap0").hardware, Hardware::Ethernet);

    let (v0, v1, br0) = (by_name("v0"), by_name("v1"), by_name("br0"));
    assert_eq!((v0.up, v0.mtu.current, v0.address.len(), v1.up), (true, 1400, 6, false));
    let links = Links::read().unwrap();
    let names = |links: Vec<&ollama_guard::links::Link>| links.iter().map(|l| l.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(links.members_of(br0.index).collect()), ["tap0"]);
    assert_eq!(names(links.stacked_on(v0.index).collect()), ["mv0", "mt0"], "its peer is not on top of it");
    assert!(links.stacked_on(v1.index).next().is_none(), "a VXLAN takes no frames from it");
}

#[test]
fn what_lies_in_another_namespace_is_not_mistaken_for_something_here() {
    let Some(_namespace) = Namespace::enter() else { return };
    let other = Namespace::create();
    ip("link add v0 type veth peer name v1");
    assert_eq!(by_name("v0").lower, Some(by_name("v1").index));
    ip(&format!("link set v1 netns {}", other.name));
    assert_eq!(by_name("v0").lower, None);
}

#[test]
fn a_rename_keeps_the_index() {
    let Some(_namespace) = Namespace::enter() else { return };
    ip("link add v0 type veth peer name v1");
    let index = by_name("v0").index;
    ip("link set v0 name wg0");
    assert_eq!(by_name("wg0").index, index);
}

#[test]
fn a_name_that_is_not_text_does_not_hide_its_interface() {
    let Some(_namespace) = Namespace::enter() else { return };
    ip("link add v0 type veth peer name v1");
    let index = by_name("v0").index;
    let raw = b"wg\xff0";
    let renamed = Command::new("ip").args(["link", "set", "v0", "name"]).arg(OsStr::from_bytes(raw)).status();
    assert!(renamed.unwrap().success());
    let links = Links::read().unwrap();
    let link = links.get(index).unwrap();
    assert_eq!((link.name.as_str(), link.raw_name.as_deref()), ("wg?0", Some(raw.as_slice())));
    assert!(links.by_name(&link.name).is_none());
}
