//! Ends connections that the policy refuses, on a thread of its own: enforcement neither waits for it nor depends on it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::entry::Entry;
use super::judge::{Ended, Ground, Judge, Way};
use super::kernel;
use crate::netlink::NetlinkError;
use crate::plan::services::ServiceTable;
use crate::policy::Policy;

/// Connections that one look takes up; if there are more, it looks again.
const BATCH: usize = 16_384;
/// All looks of one sweep together.
const BUDGET: Duration = Duration::from_mins(1);
/// How long a server goes on sending into a connection that hears nothing (`net.ipv4.tcp_retries2` = 15: 924 s).
const ECHOES: Duration = Duration::from_mins(16);
/// Between the sweeps of that time: so long, or so many times what a sweep took.
const PAUSE: Duration = Duration::from_secs(1);
const REST: u32 = 50;

/// Orders sweeps. The thread ends when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    orders: Option<Sender<Order>>,
    ground: Ground,
    /// The interfaces were looked at before.
    started: bool,
    /// The policy has changed since the last order.
    changed: bool,
    /// The last order came before all was in force.
    early: bool,
}

struct Order {
    policy: Policy,
    services: ServiceTable,
    ground: Ground,
}

impl Sweeper {
    /// The policy is another one.
    pub(crate) fn policy_changed(&mut self) {
        self.changed = true;
    }

    /// After a pass; orders a sweep if connections may be there that passed before and pass no more. `complete`: all that
    /// the policy wants is in force.
    pub(crate) fn passed(&mut self, policy: &Policy, services: &ServiceTable, ground: Ground, complete: bool) {
        let stricter = !self.started || self.changed || ground.is_stricter_than(&self.ground);
        self.ground = ground.clone();
        if !(stricter || self.early && complete) {
            return;
        }
        (self.started, self.changed, self.early) = (true, false, !complete);
        if !kernel::tracks() {
            return;
        }
        let order = Order { policy: policy.clone(), services: services.clone(), ground };
        let sent = match &self.orders {
            Some(orders) => orders.send(order).map_err(io::Error::other),
            None => start().and_then(|orders| {
                let sent = orders.send(order).map_err(io::Error::other);
                self.orders = Some(orders);
                sent
            }),
        };
        if let Err(error) = sent {
            self.orders = None;
            warn!(
                "connections from before stay in the connection table (what they send is dropped all the same): {error}"
            );
        }
    }
}

fn start() -> io::Result<Sender<Order>> {
    let (orders, ordered) = channel();
    thread::Builder::new().name("flows".to_owned()).spawn(move || work(&ordered))?;
    Ok(orders)
}

/// Sweeps when told to, and while servers of ended connections may still be sending.
fn work(orders: &Receiver<Order>) {
    let (mut judge, mut ended) = (None, Ended::default());
    let (mut until, mut pause) = (None::<Instant>, PAUSE);
    loop {
        let order = match until {
            Some(until) if Instant::now() < until => orders.recv_timeout(pause),
            _ => {
                ended.forget();
                orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
            }
        };
        match order {
            Ok(order) => {
                // Of several orders the last one counts. Whoever may come in now was ended by an older one.
                let Order { policy, services, ground } = orders.try_iter().last().unwrap_or(order);
                judge = Judge::new(&policy, &services, ground);
                ended.forget();
                until = None;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(judge) = &judge else {
            until = None;
            continue;
        };
        let begun = Instant::now();
        match sweep(judge, &mut ended) {
            Ok(0) => debug!("no connection from before is refused now"),
            Ok(count) => {
                info!("{count} connections from before ended: the policy refuses them now");
                until = Some(Instant::now() + ECHOES);
            }
            Err(error) => warn!("connections from before may go on where a flowtable carries them: {error}"),
        }
        pause = PAUSE.max(begun.elapsed() * REST);
    }
}

/// One sweep; how many connections it ended.
fn sweep(judge: &Judge, ended: &mut Ended) -> Result<usize, NetlinkError> {
    let begun = Instant::now();
    let (mut count, mut ways) = (0, Ways::default());
    loop {
        let mut found = Vec::new();
        let mut skipped = false;
        kernel::list(|entry| {
            if judge.concerns(&entry) || ended.is_echo(&entry) {
                found.push(entry);
            }
            skipped = found.len() >= BATCH || begun.elapsed() > BUDGET;
            !skipped
        })?;
        let mut progress = 0;
        for entry in found {
            if begun.elapsed() > BUDGET {
                warn!("not all connections from before could be looked at in {BUDGET:?}; the next change tries again");
                return Ok(count + progress);
            }
            let refused = ended.is_echo(&entry) || ways.refused(judge, &entry);
            if refused && kernel::end(&entry)? {
                ended.remember(&entry);
                progress += 1;
            }
        }
        count += progress;
        if !skipped || progress == 0 {
            return Ok(count);
        }
    }
}

/// Routes looked up in one sweep.
#[derive(Default)]
struct Ways(BTreeMap<(IpAddr, IpAddr, u32), Both>);

/// The ways to the client and to the server.
type Both = (Option<Way>, Option<Way>);

impl Ways {
    fn refused(&mut self, judge: &Judge, entry: &Entry) -> bool {
        // By the mark too, where rules route by it: what either way leaves to the connection, it keeps.
        let marks = [0, entry.mark];
        marks.into_iter().all(|mark| {
            let (client, server) = self.of(entry.original.from.ip(), entry.reply.from.ip(), mark);
            judge.refuses(entry, client, server)
        })
    }

    fn of(&mut self, client: IpAddr, server: IpAddr, mark: u32) -> Both {
        if self.0.len() >= BATCH {
            self.0.clear();
        }
        *self.0.entry((client, server, mark)).or_insert_with(|| {
            let to_server = kernel::way(None, server, None, mark);
            let answers = match to_server {
                Some(Way::Here) => kernel::way(Some(server), client, None, mark),
                Some(Way::Through(interface)) => kernel::way(Some(server), client, Some(interface), mark),
                None => None,
            };
            // Filters of sources and policy routing may refuse the question as it was put.
            (answers.or_else(|| kernel::way(None, client, None, mark)), to_server)
        })
    }
}
