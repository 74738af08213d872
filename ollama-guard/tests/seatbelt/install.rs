//! The table goes in, reads back as it was written, is repaired, and goes away without a trace.

use std::time::{Duration, Instant};

use ollama_guard::policy::*;
use ollama_guard::seatbelt::ruleset::{Surroundings, lower};
use ollama_guard::seatbelt::{Condition, Repair, Seatbelt, TABLE, read_status};

use crate::support::*;

#[test]
fn what_is_installed_reads_back_identical() {
    let host = Netns::new("host");
    host.within(|| {
        let mut policy = policy();
        policy.allow = vec![
            allow("192.168.1.50/32", Some("eth0"), Some("ollama")),
            allow("10.0.0.0/8", None, None),
            allow("10.1.0.0/16", None, None),
            allow("fd00::/8", None, None),
            allow("0.0.0.0/0", Some("eth9"), None),
        ];
        let surroundings = Surroundings {
            not_containers: ["br-lan".parse().unwrap()].into(),
            vrf_devices: ["red".parse().unwrap()].into(),
            bridges_translate: true,
            judged: ["docker0".parse().unwrap()].into(),
            ..Surroundings::default()
        };
        for forwarded in [Forwarded::Drop, Forwarded::Pass] {
            for mode in [Mode::Enforce, Mode::Observe] {
                let ruleset = lower(&Policy { forwarded, mode, ..policy.clone() }, &surroundings);
                let mut seatbelt = Seatbelt::open(TABLE).unwrap();
                seatbelt.apply(&ruleset).unwrap();
                let status = seatbelt.status().unwrap();
                assert_eq!(status.condition, Condition::Intact);
                assert_eq!(status.owner, Some(seatbelt.port()));
                assert_eq!(read_status(TABLE, &ruleset).unwrap().condition, Condition::Intact);
            }
        }
        println!("{}", host.nft("list ruleset").unwrap());
        let mut seatbelt = Seatbelt::open(TABLE).unwrap();
        seatbelt.remove().unwrap();
        seatbelt.remove().unwrap();
        assert_eq!(host.nft("list ruleset").unwrap(), "");
    });
}

#[test]
fn others_cannot_edit_or_flush_it_while_it_is_owned() {
    let host = Netns::new("host");
    host.within(|| {
        let ruleset = lower(&policy(), &Surroundings::default());
        let mut seatbelt = Seatbelt::open(TABLE).unwrap();
        seatbelt.apply(&ruleset).unwrap();
        assert!(seatbelt.is_protected(), "this kernel has no `flags owner, persist`");
        host.nft("flush ruleset").unwrap();
        host.nft("flush chain inet ollama_guard input").unwrap_err();
        assert_eq!(seatbelt.status().unwrap().condition, Condition::Intact);

        let error = Seatbelt::open(TABLE).unwrap().apply(&ruleset).unwrap_err();
        assert!(error.to_string().contains("belongs to another process"), "{error}");
    });
}

/// Drops the keeper and waits until the kernel has noticed: a process that another test starts just now holds a copy of
/// its socket until it becomes another program.
fn abandon(seatbelt: Seatbelt) {
    let port = seatbelt.port();
    drop(seatbelt);
    let nothing = lower(&policy(), &Surroundings::default());
    let deadline = Instant::now() + Duration::from_secs(5);
    while read_status(TABLE, &nothing).unwrap().owner == Some(port) {
        assert!(Instant::now() < deadline, "the table still has its owner");
        std::thread::yield_now();
    }
}

#[test]
fn an_orphan_is_adopted_verified_and_rewritten() {
    let host = Netns::new("host");
    host.within(|| {
        let ruleset = lower(&policy(), &Surroundings::default());
        let planted = [
            "flush ruleset",
            "flush chain inet ollama_guard prerouting",
            "insert rule inet ollama_guard prerouting accept",
            "add rule inet ollama_guard input_refuse accept",
            "add element inet ollama_guard trusted { \"eth0\" }",
            "flush set inet ollama_guard guarded_ports",
            "add chain inet ollama_guard mine { type filter hook input priority -500; policy accept; }",
            "add set inet ollama_guard mine { type ipv4_addr; }",
            "add counter inet ollama_guard mine",
            "add quota inet ollama_guard mine { over 1 mbytes }",
            "add chain inet ollama_guard prerouting { policy drop; }",
            "flush chain inet ollama_guard input; flush chain inet ollama_guard input_refuse;
             delete chain inet ollama_guard input_refuse",
            "flush chain inet ollama_guard input; flush chain inet ollama_guard input_vrf;
             delete counter inet ollama_guard input_trusted",
            "delete set inet ollama_guard input_would_drop_on;
             add set inet ollama_guard input_would_drop_on { type ipv4_addr; size 4096; flags dynamic; }",
        ];
        for what in planted {
            let mut first = Seatbelt::open(TABLE).unwrap();
            first.apply(&ruleset).unwrap();
            abandon(first);
            let orphan = read_status(TABLE, &ruleset).unwrap();
            assert_eq!((orphan.condition, orphan.owner), (Condition::Intact, None));
            if let Err(error) = host.nft(what) {
                println!("{what}: {error}");
                continue;
            }
            let changed = read_status(TABLE, &ruleset).unwrap().condition;
            println!("{what}: {changed:?}");
            assert_ne!(changed, Condition::Intact, "{what}");
            let mut second = Seatbelt::open(TABLE).unwrap();
            second.apply(&ruleset).unwrap();
            assert_eq!(second.status().unwrap().condition, Condition::Intact, "{what}");
            assert_eq!(second.repair().unwrap(), Repair::Intact);
            abandon(second);
        }
    });
}

/// Only a table that nobody owns can be put to sleep.
#[test]
fn a_table_that_sleeps_is_woken() {
    let host = Netns::new("dormant");
    host.within(|| {
        let ruleset = lower(&policy(), &Surroundings::default());
        let mut seatbelt = Seatbelt::open(TABLE).unwrap();
        seatbelt.unprotect();
        seatbelt.apply(&ruleset).unwrap();
        host.nft("add table inet ollama_guard { flags dormant; }").unwrap();
        let asleep = vec!["the table was made dormant".to_owned()];
        assert_eq!(read_status(TABLE, &ruleset).unwrap().condition, Condition::Differs(asleep.clone()));
        assert_eq!(seatbelt.repair().unwrap(), Repair::Repaired(asleep));
        assert_eq!(read_status(TABLE, &ruleset).unwrap().condition, Condition::Intact);
    });
}

/// Flags of a table cannot be changed: one without them is replaced by another, which goes on counting.
#[test]
fn a_table_that_is_replaced_keeps_its_counts() {
    let host = Netns::new("replaced");
    host.within(|| {
        let ruleset = lower(&policy(), &Surroundings::default());
        let mut unprotected = Seatbelt::open(TABLE).unwrap();
        unprotected.unprotect();
        unprotected.apply(&ruleset).unwrap();
        for _ in 0..3 {
            std::net::TcpStream::connect(("127.0.0.1", 11434)).unwrap_err();
        }
        let before = unprotected.status().unwrap();
        assert_eq!((before.counters["prerouting_trusted"].packets, before.owner), (3, None));

        let mut protected = Seatbelt::open(TABLE).unwrap();
        protected.apply(&ruleset).unwrap();
        let after = protected.status().unwrap();
        assert_eq!(after.owner, Some(protected.port()));
        assert_eq!(after.counters, before.counters);
    });
}

/// Where another layer stands, the table is not in the way of others; where none does, they are kept out. Each way it is
/// replaced at once, and its counts live on.
#[test]
fn protection_comes_and_goes() {
    let host = Netns::new("protection");
    host.within(|| {
        let ruleset = lower(&policy(), &Surroundings::default());
        let mut seatbelt = Seatbelt::open(TABLE).unwrap();
        assert!(!seatbelt.protect(false).unwrap(), "there is no table yet");
        seatbelt.apply(&ruleset).unwrap();
        std::net::TcpStream::connect(("127.0.0.1", 11434)).unwrap_err();
        for (protects, owner) in [(true, Some(seatbelt.port())), (false, None), (true, Some(seatbelt.port()))] {
            assert!(seatbelt.protect(protects).unwrap());
            assert!(!seatbelt.protect(protects).unwrap());
            let status = seatbelt.status().unwrap();
            assert_eq!((status.condition, status.owner), (Condition::Intact, owner));
            assert_eq!(status.counters["prerouting_trusted"].packets, 1);
            assert_eq!(seatbelt.repair().unwrap(), Repair::Intact);
            assert_eq!(host.nft("flush chain inet ollama_guard input").is_ok(), owner.is_none());
            seatbelt.repair().unwrap();
        }
    });
}

/// What people save and load again: with `flush ruleset` before it or without, older than the policy, from a version that
/// owned its table, or beside tables of the same name in other families.
#[test]
fn a_saved_ruleset_can_be_loaded_and_is_put_right() {
    let host = Netns::new("saved");
    host.within(|| {
        let older = lower(&Policy { mode: Mode::Observe, ..policy() }, &Surroundings::default());
        let ruleset = lower(&policy(), &Surroundings::default());
        let mut seatbelt = Seatbelt::open(TABLE).unwrap();
        seatbelt.apply(&ruleset).unwrap();
        let owned = host.nft("list ruleset").unwrap();
        assert!(owned.contains("flags owner"), "{owned}");
        seatbelt.protect(false).unwrap();
        seatbelt.apply(&older).unwrap();
        let old = host.nft("list ruleset").unwrap();
        seatbelt.apply(&ruleset).unwrap();
        let saved = host.nft("list ruleset").unwrap();
        let flushed = |text: &str| format!("flush ruleset\n{text}");
        let without_sets = "flush ruleset\ntable inet ollama_guard { chain input { }; }".to_owned();
        let namesakes = format!("{}\ntable ip ollama_guard {{ }}\ntable bridge ollama_guard {{ }}", flushed(&saved));
        for load in [flushed(&saved), saved.clone(), flushed(&old), old, flushed(&owned), without_sets, namesakes] {
            host.nft(&format!("table inet mine {{ }}\n{load}")).unwrap_or_else(|error| panic!("{error}\n{load}"));
            eventually(|| matches!(seatbelt.repair(), Ok(Repair::Intact)));
            let status = read_status(TABLE, &ruleset).unwrap();
            assert_eq!((status.condition, status.owner), (Condition::Intact, None), "{load}");
        }
        println!("{} repairs", seatbelt.repairs());
    });
}

#[test]
fn many_sources_fit_into_one_batch() {
    let host = Netns::new("large");
    host.within(|| {
        let mut policy = policy();
        let network = |i: u32| format!("{}.{}.{}.{}/31", 20 + (i >> 14), i >> 6 & 0xff, i & 0x3f, 4);
        policy.allow = (0..20_000).map(|i| allow(&network(i), None, None)).collect();
        let surroundings = Surroundings::default();
        let mut seatbelt = Seatbelt::open(TABLE).unwrap();
        let mut timed = |policy: &Policy, what: &str| {
            let ruleset = lower(policy, &surroundings);
            let start = Instant::now();
            seatbelt.apply(&ruleset).unwrap();
            println!("{what}: {:?}", start.elapsed());
            assert!(seatbelt.status().unwrap().intact);
        };
        timed(&policy, "new");
        timed(&policy, "unchanged");
        policy.allow.pop();
        timed(&policy, "one source less");
    });
}
