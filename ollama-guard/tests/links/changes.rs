//! Changes are heard of, and none makes the reader lose an interface.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ollama_guard::links::{LinkEvents, Links};

use crate::namespace::{Namespace, by_name, ip, ip_batch};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn heard(events: &mut LinkEvents, what: &str) {
    let changed = tokio::time::timeout(Duration::from_secs(5), events.changed()).await;
    changed.unwrap_or_else(|_| panic!("nothing was heard of {what}")).unwrap();
}

async fn silent(events: &mut LinkEvents) -> bool {
    tokio::time::timeout(Duration::from_millis(400), events.changed()).await.is_err()
}

#[test]
fn each_change_is_heard_and_many_are_one() {
    let Some(_namespace) = Namespace::enter() else { return };
    let other = Namespace::create();
    runtime().block_on(async {
        let mut events = LinkEvents::open().unwrap();
        let changes = [
            "link add v0 type veth peer name v1",
            "link set v0 up",
            "link set v1 up",
            "link set v0 name eth7",
            "link add br0 type bridge",
            "link set eth7 master br0",
            "link set eth7 nomaster",
            "link set eth7 mtu 1400",
            &format!("link set v1 netns {}", other.name),
            "link delete eth7",
        ];
        for change in changes {
            ip(change);
            heard(&mut events, change).await;
            // Some changes are several messages (carrier follows a moment later): wait until it is quiet.
            while !silent(&mut events).await {}
        }
        ip("link set br0 up");
        ip("link set br0 down");
        tokio::time::sleep(Duration::from_millis(100)).await;
        heard(&mut events, "two changes").await;
        assert!(silent(&mut events).await, "what was queued is one wake-up");
    });
}

/// They tell an uplink. Many of them are few wake-ups, and the last is not lost.
#[test]
fn what_an_interface_is_used_for_is_heard_too() {
    let Some(_namespace) = Namespace::enter() else { return };
    ip("link add v0 type veth peer name v1");
    ip("link set v0 up");
    ip("link set v1 up");
    runtime().block_on(async {
        let mut events = LinkEvents::open().unwrap();
        let changes = [
            "address add 10.0.0.1/24 dev v0",
            "address add fd17::1/64 dev v0 nodad",
            "route add default via 10.0.0.2 table 7",
            "-6 route add default dev v0",
            "route delete default table 7",
            "address delete 10.0.0.1/24 dev v0",
        ];
        for change in changes {
            while !silent(&mut events).await {}
            ip(change);
            heard(&mut events, change).await;
        }
        while !silent(&mut events).await {}
        std::fs::write("/proc/sys/net/ipv4/conf/v0/forwarding", "1").unwrap();
        heard(&mut events, "forwarding").await;

        while !silent(&mut events).await {}
        for i in 0..100 {
            ip(&format!("route add 10.1.{i}.0/24 dev v0"));
        }
        let mut wakes = 0;
        while !silent(&mut events).await {
            wakes += 1;
        }
        assert!((1..=2).contains(&wakes), "{wakes} wake-ups for what was queued");
    });
}

#[test]
fn a_lost_message_is_a_change() {
    let Some(_namespace) = Namespace::enter() else { return };
    ip("link add br0 type bridge");
    runtime().block_on(async {
        let mut events = LinkEvents::open().unwrap();
        // More than the socket holds.
        let flood = (0..6000).fold(String::new(), |mut lines, i| {
            writeln!(lines, "link set br0 mtu {}", 1400 + i % 2).unwrap();
            lines
        });
        ip_batch(&flood);
        heard(&mut events, "a flood of changes").await;
        while !silent(&mut events).await {}
        ip("link set br0 up");
        heard(&mut events, "a change after the flood").await;
    });
}

#[test]
fn no_interface_is_missed_while_others_come_and_go() {
    let Some(namespace) = Namespace::enter() else { return };
    // More than one part of a listing.
    let bridges = (0..80).fold(String::new(), |mut lines, i| {
        writeln!(lines, "link add br{i} type bridge").unwrap();
        lines
    });
    ip_batch(&bridges);
    let done = AtomicBool::new(false);
    let churn = "link add a0 type veth peer name a1\nlink delete a0\n".repeat(20);
    std::thread::scope(|scope| {
        // A thread inherits the namespace of the one that starts it.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                ip_batch(&churn);
            }
        });
        let missed = (0..300).find_map(|_| {
            let links = Links::read().unwrap();
            (0..80).map(|i| format!("br{i}").parse().unwrap()).find(|name| links.by_name(name).is_none())
        });
        done.store(true, Ordering::Relaxed);
        assert_eq!(missed, None, "in {}", namespace.name);
    });
    assert_eq!(by_name("br79").name.as_str(), "br79");
}
