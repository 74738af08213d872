//! Keeps the kernel's table to the ruleset.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nftnl::nftnl_sys::libc;

use super::batch::{Plan, TABLE_STEP};
use super::error::SeatbeltError;
use super::readback::{self, Count, Held, Known};
use super::ruleset::{Hook, Ruleset};
use super::status::{self, SeatbeltStatus};
use super::transport::Transport;
use crate::backoff::Backoff;

/// `NFT_TABLE_F_OWNER` (5.12): nobody else edits or flushes the table while this socket lives.
const OWNER: u32 = 0x2;
/// `NFT_TABLE_F_PERSIST` (6.9): when the owner dies, the table stays. Without it an owned table dies with its owner, so
/// the two are used together or not at all.
const PERSIST: u32 = 0x4;

/// The table's keeper: one a network namespace, in the process that enforces.
pub struct Seatbelt {
    transport: Transport,
    table: String,
    /// The kernel takes [`OWNER`] and [`PERSIST`]; assumed until it refuses.
    can_protect: bool,
    /// They are wanted.
    protects: bool,
    wanted: Option<Ruleset>,
    /// The kernel was seen to hold [`Self::wanted`], and no commit of ours since may have changed that.
    certain: bool,
    /// The generation of all rules at which that was last seen: as long as it is the same, nobody has changed anything.
    seen_at: Option<u32>,
    repairs: u64,
    backoff: Backoff,
}

/// What [`Seatbelt::repair`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing to do.
    Intact,
    /// It differed so, in words, and was put right.
    Repaired(Vec<String>),
    /// It differs so; another program undoes every repair, so the next is due only after this time.
    Deferred(Vec<String>, Duration),
}

impl Seatbelt {
    /// Opens a socket in this thread's network namespace. Changes nothing.
    pub fn open(table: &str) -> Result<Self, SeatbeltError> {
        Ok(Self {
            transport: Transport::open()?,
            table: table.to_owned(),
            can_protect: true,
            protects: true,
            wanted: None,
            certain: false,
            seen_at: None,
            repairs: 0,
            backoff: Backoff::default(),
        })
    }

    /// Does without the table flags that keep others out, as on kernels before 6.9.
    pub fn unprotect(&mut self) {
        self.can_protect = false;
    }

    /// Keeps others from editing and flushing the table, or lets them: then it is repaired when they have. To be
    /// protected where nothing else stands while a repair is due; where something does, the table had better not be in
    /// the way of a saved ruleset that is loaded. At once, if there is a table; then it is another one, and this is true.
    pub fn protect(&mut self, protects: bool) -> Result<bool, SeatbeltError> {
        let changes = std::mem::replace(&mut self.protects, protects) != protects && self.can_protect;
        match self.wanted.clone() {
            Some(wanted) if changes => self.apply(&wanted).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Puts the ruleset into the kernel in one batch, all or nothing, and reads it back. An existing table is adopted:
    /// its counters live on, its sets and chains are rewritten where they differ.
    pub fn apply(&mut self, ruleset: &Ruleset) -> Result<(), SeatbeltError> {
        self.write(ruleset)?;
        self.wanted = Some(ruleset.clone());
        self.certain = true;
        Ok(())
    }

    fn read(&mut self) -> Result<Option<Held>, SeatbeltError> {
        // Borrows by field: the transport is written to.
        let known = match &self.wanted {
            Some(wanted) if self.certain => Known::IfOwned(wanted, self.transport.port()),
            _ => Known::Nothing,
        };
        readback::read(&mut self.transport, &self.table, known)
    }

    /// Puts right what somebody changed since [`Seatbelt::apply`]; to be called when [`super::Monitor`] reports a touch,
    /// and now and then in any case.
    pub fn repair(&mut self) -> Result<Repair, SeatbeltError> {
        let generation = self.transport.generation()?;
        if self.wanted.is_none() || generation.is_some() && generation == self.seen_at {
            return Ok(Repair::Intact);
        }
        let held = self.read()?;
        let Some(wanted) = &self.wanted else { return Ok(Repair::Intact) };
        let differences: Vec<String> = match &held {
            None => vec!["the table was deleted".to_owned()],
            Some(held) => {
                let differences = readback::differences(held, wanted);
                differences.iter().map(ToString::to_string).chain(self.misowned(held)).collect()
            }
        };
        if differences.is_empty() {
            // Read before the table: what changes meanwhile has another number.
            self.seen_at = generation;
            return Ok(Repair::Intact);
        }
        let now = Instant::now();
        if let Some(wait) = self.backoff.wait(now) {
            return Ok(Repair::Deferred(differences, wait));
        }
        self.backoff.record(now);
        self.repairs += 1;
        let wanted = wanted.clone();
        self.write(&wanted)?;
        self.certain = true;
        Ok(Repair::Repaired(differences))
    }

    /// What the kernel holds now.
    pub fn status(&mut self) -> Result<SeatbeltStatus, SeatbeltError> {
        let empty = Ruleset { sets: Vec::new(), counters: Vec::new(), chains: Vec::new() };
        status::read(&mut self.transport, &self.table, self.wanted.as_ref().unwrap_or(&empty))
    }

    /// What a hook dropped up to now, by interface.
    pub fn dropped_on(&mut self, hook: Hook) -> Result<BTreeMap<String, Count>, SeatbeltError> {
        readback::read_counted(&mut self.transport, &self.table, &hook.counted_set(false))
    }

    /// Repairs since the start.
    pub fn repairs(&self) -> u64 {
        self.repairs
    }

    /// The kernel keeps others from editing or flushing the table while this process lives.
    pub fn is_protected(&self) -> bool {
        self.protects && self.can_protect
    }

    /// The netlink port of our own changes, which [`super::Monitor`] leaves out.
    pub fn port(&self) -> u32 {
        self.transport.port()
    }

    /// Removes the table. That it is gone already is fine.
    pub fn remove(&mut self) -> Result<(), SeatbeltError> {
        (self.wanted, self.certain, self.seen_at) = (None, false, None);
        let nothing = Ruleset { sets: Vec::new(), counters: Vec::new(), chains: Vec::new() };
        match self.transport.commit(&mut Plan::remove(&self.table, &nothing)) {
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
            other => self.blame_owner(other),
        }
    }

    fn flags(&self) -> u32 {
        if self.is_protected() { OWNER | PERSIST } else { 0 }
    }

    /// Owned by another than it should be, in words.
    fn misowned(&self, held: &Held) -> Option<String> {
        let owner = self.is_protected().then(|| self.transport.port());
        (held.owner != owner).then(|| match held.owner {
            Some(port) => format!("the table got another owner (netlink port {port})"),
            None => "the table lost its owner".to_owned(),
        })
    }

    fn write(&mut self, wanted: &Ruleset) -> Result<(), SeatbeltError> {
        match self.attempt(wanted) {
            Err(error) if self.is_protected() && refuses_flags(&error) => {
                self.can_protect = false;
                self.attempt(wanted)?;
            }
            other => other?,
        }
        // What was sent in this batch the kernel has confirmed, and the table is not anybody else's to change.
        let known = Known::IfOwned(wanted, self.transport.port());
        let held = readback::read(&mut self.transport, &self.table, known)?;
        let differences = held.map(|held| readback::differences(&held, wanted));
        match differences.as_deref() {
            Some([]) => Ok(()),
            Some([first, ..]) => Err(SeatbeltError::NotAsWritten(first.to_string())),
            None => Err(SeatbeltError::NotAsWritten("no table".into())),
        }
    }

    fn attempt(&mut self, wanted: &Ruleset) -> Result<(), SeatbeltError> {
        let held = self.read()?;
        (self.certain, self.seen_at) = (false, None);
        let flags = self.flags();
        if let Some(held) = &held {
            let differences = readback::differences(held, wanted);
            // Flags of an existing table cannot be changed, except that an orphan may be adopted (`nf_tables_updtable`).
            let adoptable = held.flags & !OWNER == flags & !OWNER;
            if adoptable && !differences.iter().any(readback::Difference::needs_new_table) {
                let mut steps = Plan::refill(&self.table, wanted, flags, held, &differences);
                match self.transport.commit(&mut steps) {
                    Err(SeatbeltError::Refused { what, .. }) if what != TABLE_STEP => {} // a new table, then
                    other => return self.blame_owner(other),
                }
            }
        }
        let result = self.transport.commit(&mut Plan::rebuild(&self.table, wanted, flags, held.as_ref()));
        self.blame_owner(result)
    }

    /// A table that refuses with EPERM has a live owner; the caller learns who.
    fn blame_owner(&mut self, result: Result<(), SeatbeltError>) -> Result<(), SeatbeltError> {
        match result {
            Err(error @ SeatbeltError::Refused { .. }) if error.errno() == Some(libc::EPERM) => {
                let held = readback::read(&mut self.transport, &self.table, Known::Nothing).ok().flatten();
                let port = held.and_then(|held| held.owner);
                Err(SeatbeltError::OwnedByAnother { table: self.table.clone(), port })
            }
            other => other,
        }
    }
}

/// Kernels before 5.12 answer EINVAL to an unknown table flag, later ones EOPNOTSUPP (`nf_tables_newtable`).
fn refuses_flags(error: &SeatbeltError) -> bool {
    matches!(error, SeatbeltError::Refused { what, .. } if what == TABLE_STEP)
        && matches!(error.errno(), Some(libc::EOPNOTSUPP | libc::EINVAL))
}
