//! Looks on a thread of its own: a look reads all of `/proc` and asks the container engines, and a new interface must not
//! wait for that.

use std::collections::BTreeSet;
use std::io;
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch::{self, Receiver, Sender};
use tokio::time::sleep;

use super::{DerivedPort, Unknown, Watch};
use crate::policy::Service;

/// Between an order and the look: links come and go several at a time, and whoever gave the order needs the processor to
/// attach programs to them.
const PAUSE: Duration = Duration::from_millis(20);

/// The running thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Lookout {
    orders: Sender<Order>,
    ports: Receiver<Vec<DerivedPort>>,
    unknown: Receiver<BTreeSet<Unknown>>,
    /// Number of the last order that was carried out.
    done: Receiver<u64>,
}

/// To look.
#[derive(Clone, Debug)]
struct Order {
    number: u64,
    /// What is guarded.
    services: Vec<Service>,
}

/// The thread ended, and derived ports would be noticed no more.
#[derive(Clone, Copy, Debug, Error)]
#[error("the thread that looks for proxies of containers ended; what stands stays in force")]
pub struct Gone;

impl Lookout {
    /// Goes on from what an earlier daemon guarded, and looks at once.
    pub fn start(services: &[Service], guarded: &[DerivedPort]) -> io::Result<Self> {
        let watch = Watch::resume(services, guarded);
        let (orders, ordered) = watch::channel(Order { number: 1, services: services.to_vec() });
        let (found, ports) = watch::channel(guarded.to_vec());
        let (carried_out, done) = watch::channel(0);
        let (told, unknown) = watch::channel(BTreeSet::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || runtime.block_on(keep_looking(watch, ordered, &found, &told, &carried_out));
        thread::Builder::new().name("lookout".to_owned()).spawn(work)?;
        Ok(Self { orders, ports, unknown, done })
    }

    /// Has it look again, soon.
    pub fn look(&self) {
        self.orders.send_modify(|order| order.number += 1);
    }

    /// Has it look for the ports that lead to these services from now on.
    pub fn look_for(&self, services: &[Service]) {
        let services = services.to_vec();
        self.orders.send_modify(|order| *order = Order { number: order.number + 1, services });
    }

    /// Waits until it has looked since it was last told to.
    pub async fn looked(&mut self) -> Result<(), Gone> {
        let number = self.orders.borrow().number;
        self.done.wait_for(|done| *done >= number).await.map(drop).map_err(|_| Gone)
    }

    /// Waits until it finds something else than [`Self::ports`] and [`Self::unknown`] last told. Cancel safe.
    pub async fn changed(&mut self) -> Result<(), Gone> {
        tokio::select! {
            changed = self.ports.changed() => changed,
            changed = self.unknown.changed() => changed,
        }
        .map_err(|_| Gone)
    }

    /// What may lead to a guarded port and cannot be known, as of the last look.
    pub fn unknown(&mut self) -> BTreeSet<Unknown> {
        self.unknown.borrow_and_update().clone()
    }

    /// What it found last.
    pub fn ports(&mut self) -> Vec<DerivedPort> {
        self.ports.borrow_and_update().clone()
    }
}

/// Until nobody can give orders any more.
async fn keep_looking(
    mut watch: Watch,
    mut orders: Receiver<Order>,
    found: &Sender<Vec<DerivedPort>>,
    told: &Sender<BTreeSet<Unknown>>,
    done: &Sender<u64>,
) {
    loop {
        let Order { number, services } = orders.borrow_and_update().clone();
        let ports = watch.look(&services);
        found.send_if_modified(|known| {
            let is_news = known != ports;
            if is_news {
                ports.clone_into(known);
            }
            is_news
        });
        told.send_if_modified(|known| {
            let is_news = known != watch.unknown();
            if is_news {
                known.clone_from(watch.unknown());
            }
            is_news
        });
        done.send_replace(number);
        tokio::select! {
            ordered = orders.changed() => {
                if ordered.is_err() {
                    return;
                }
                if orders.borrow().services == services {
                    sleep(PAUSE).await;
                }
            }
            () = watch.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::built_in;

    #[tokio::test]
    async fn it_looks_when_told_and_says_when_it_has() {
        let mut lookout = Lookout::start(&built_in().services, &[]).unwrap();
        lookout.looked().await.unwrap();
        for number in 2..10 {
            lookout.look();
            lookout.looked().await.unwrap();
            assert!(*lookout.done.borrow() >= number);
        }
    }

    #[tokio::test]
    async fn what_it_found_is_news_once() {
        let (orders, _) = watch::channel(Order { number: 1, services: Vec::new() });
        let (found, ports) = watch::channel(Vec::new());
        let (carried_out, done) = watch::channel(1);
        let (_told, unknown) = watch::channel(BTreeSet::new());
        let mut lookout = Lookout { orders, ports, unknown, done };
        found.send_modify(Vec::clear);
        lookout.changed().await.unwrap();
        assert_eq!(lookout.ports(), []);
        assert!(!lookout.ports.has_changed().unwrap());
        drop((found, carried_out));
        lookout.look();
        assert!(lookout.changed().await.is_err(), "a thread that ended is not waited for");
        assert!(lookout.looked().await.is_err());
    }
}
