//! XDP programs are seen, and so is what they change about a device.

use ollama_guard::links::features::{Snapshot, takes_fragments};
use ollama_guard::links::{Link, NetlinkError, XdpMode};

use crate::namespace::{Namespace, by_name, ip};
use crate::program;

#[test]
fn programs_are_seen_with_their_mode_and_number() {
    let Some(_namespace) = Namespace::enter() else { return };
    let object = program::Object::write();
    ip("link add v0 type veth peer name v1");
    assert_eq!(by_name("v0").xdp, []);
    for (word, mode) in [("xdpgeneric", XdpMode::Generic), ("xdpdrv", XdpMode::Native)] {
        ip(&format!("link set v0 {word} object {} section xdp", object.path.display()));
        let [attached] = by_name("v0").xdp[..] else { panic!("{:?}", by_name("v0").xdp) };
        assert_eq!(attached.mode, mode);
        assert_ne!(attached.program_id, 0);
        ip(&format!("link set v0 {word} off"));
    }
}

#[test]
fn native_xdp_on_a_veth_changes_its_peer_and_the_snapshot_tells() {
    let Some(_namespace) = Namespace::enter() else { return };
    let object = program::Object::write();
    ip("link add v0 type veth peer name v1");
    ip("link set v0 up");
    ip("link set v1 up");
    let peer = by_name("v1").index;
    let before = Snapshot::read(peer).unwrap();
    assert_eq!(before.differences(&Snapshot::read(peer).unwrap()), Vec::<String>::new());
    assert!(before.active.len() > 10 && before.switchable.len() > 5, "{before:#?}");

    ip(&format!("link set v0 xdpdrv object {} section xdp", object.path.display()));
    let differences = before.differences(&Snapshot::read(peer).unwrap());
    assert!(differences.iter().any(|difference| difference.starts_with("greatest MTU")), "{differences:?}");

    ip("link set v0 xdpdrv off");
    assert_eq!(before.differences(&Snapshot::read(peer).unwrap()), Vec::<String>::new());
}

/// Of one driver that does and one that does not.
#[test]
fn drivers_say_whether_they_take_fragments() {
    let Some(_namespace) = Namespace::enter() else { return };
    ip("link add v0 type veth peer name v1");
    ip("link add br0 type bridge");
    match takes_fragments(by_name("v0").index) {
        Err(NetlinkError::NoFamily(family)) => return assert_eq!(family, "netdev"), // a kernel before 6.3
        answer => assert!(answer.unwrap()),
    }
    assert!(!takes_fragments(by_name("br0").index).unwrap());
    assert!(takes_fragments(0x7fff_ffff).is_err());
}

#[test]
fn a_driver_without_queues_to_tell_of_is_no_error() {
    let Some(_namespace) = Namespace::enter() else { return };
    ip("link add br0 type bridge");
    let index = by_name("br0").index;
    assert_eq!(Snapshot::read(index).unwrap().channels, None);
    ip("link delete br0");
    let error = Link::read(index).unwrap_err().to_string();
    assert!(error.contains(&format!("interface {index}")), "{error}");
    assert!(Snapshot::read(index).is_err());
}
