//! A touch is heard, its author named, and repaired.

use std::time::Duration;

use ollama_guard::seatbelt::ruleset::{Surroundings, lower};
use ollama_guard::seatbelt::{Monitor, Repair, Seatbelt, TABLE, Touched};

use crate::support::*;

#[test]
fn a_touch_names_its_author_and_is_repaired() {
    let host = Netns::new("monitor");
    host.within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ruleset = lower(&policy(), &Surroundings::default());
            let mut seatbelt = Seatbelt::open(TABLE).unwrap();
            seatbelt.unprotect();
            let mut monitor = Monitor::open(TABLE, seatbelt.port()).unwrap();
            seatbelt.apply(&ruleset).unwrap();
            let quiet = tokio::time::timeout(Duration::from_millis(100), monitor.next()).await;
            assert!(quiet.is_err(), "our own change was reported: {quiet:?}");

            host.nft("add table inet other").unwrap();
            let quiet = tokio::time::timeout(Duration::from_millis(100), monitor.next()).await;
            assert!(quiet.is_err(), "another table's change was reported: {quiet:?}");

            for touch in ["flush ruleset", "flush chain inet ollama_guard input", "delete table inet ollama_guard"] {
                host.nft(touch).unwrap();
                let heard = tokio::time::timeout(Duration::from_secs(5), monitor.next()).await.unwrap().unwrap();
                let Touched::By(author) = heard else { panic!("{heard:?}") };
                assert_eq!(author.name.as_deref(), Some("nft"), "{touch}");
                assert!(author.process.is_some());
                let repair = seatbelt.repair().unwrap();
                assert!(matches!(&repair, Repair::Repaired(what) if !what.is_empty()), "{touch}: {repair:?}");
                assert!(seatbelt.status().unwrap().intact);
            }
            assert_eq!(seatbelt.repairs(), 3);

            // Two tools fight: the repairs become rare.
            let deferred = (0..10).any(|_| {
                host.nft("flush chain inet ollama_guard input").unwrap();
                matches!(seatbelt.repair().unwrap(), Repair::Deferred(..))
            });
            assert!(deferred);
        });
    });
}
