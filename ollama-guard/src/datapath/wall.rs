//! The wall as a whole: what it holds, where it is attached, what it counted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use ollama_guard_common::abi::{InterfaceCounters, ServiceIndex};

use super::held::HeldLinks;
use super::load::create_maps;
use super::pins::{entries, pin_error, unpin};
use super::program::Instance;
use super::shared::SharedMaps;
use super::{DatapathError, Family, PinDirectory, ProgramKey, Reading, State, query, state, strangers};
use super::{clsact, sys};
use crate::plan::rules::KernelRules;

/// A program of ours on an interface, as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The interface's index.
    pub interface: u32,
    /// Where it is attached. The link does not tell native from generic XDP: ask the interface.
    pub point: Point,
    /// The program's id.
    pub program: u32,
    /// The program's pin, if it still has one.
    pub key: Option<String>,
    /// Programs and filters of others that meet packets first, in words.
    pub behind: Vec<String>,
}

/// What stands, by one reading of the pins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What is attached where.
    pub attachments: Vec<Attachment>,
    /// Interfaces whose pinned link is attached, but to another network namespace's interface of the same index.
    pub elsewhere: BTreeSet<u32>,
    /// Ids of our programs, attached or not.
    pub programs: BTreeSet<u32>,
}

/// A link, and the line that it should be in where that is known.
type Linked = (sys::LinkInfo, Option<Vec<query::InLine>>);

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// XDP, native or generic.
    Xdp,
    /// TCX ingress.
    Tcx,
    /// A filter of the clsact qdisc.
    Clsact,
}

/// The kernel side of the guard.
#[derive(Debug)]
pub struct Wall {
    pub(super) pins: PinDirectory,
    tracked: u32,
    pub(super) instances: BTreeMap<ProgramKey, Instance>,
    pub(super) maps: Option<SharedMaps>,
    pub(super) links: HeldLinks,
    /// Links at egress, held likewise.
    pub(super) egress: BTreeMap<u32, OwnedFd>,
    /// Sources removed by this process.
    forgotten: u64,
}

impl Wall {
    /// Opens the wall to change it; makes the pin directory. `tracked`: capacity of the table of sources.
    pub fn create(pins: PinDirectory, tracked: u32) -> Result<Self, DatapathError> {
        pins.create()?;
        pins.finish_installs()?;
        // Before 5.11 maps count as locked memory, of which the usual limit allows 64 KiB. Later it does not matter;
        // where it does and may not be raised, creating a map fails and says so.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
        if !SharedMaps::are_pinned(&pins) {
            create_maps(&pins, tracked)?;
        }
        let maps = SharedMaps::open(&pins).ok();
        let links = HeldLinks::with_room();
        Ok(Self { pins, tracked, instances: BTreeMap::new(), maps, links, egress: BTreeMap::new(), forgotten: 0 })
    }

    /// Opens the wall to read it; `None` if nothing was ever pinned, or a first start has not come (or never came) to
    /// that: then nothing is attached either.
    pub fn open(pins: PinDirectory) -> Result<Option<Self>, DatapathError> {
        if !pins.versions()?.ours || !SharedMaps::are_pinned(&pins) {
            return Ok(None);
        }
        let maps = Some(SharedMaps::open(&pins)?);
        let links = HeldLinks::default();
        Ok(Some(Self {
            pins,
            tracked: 0,
            instances: BTreeMap::new(),
            maps,
            links,
            egress: BTreeMap::new(),
            forgotten: 0,
        }))
    }

    /// What the loader last wrote down.
    pub fn state(&self) -> Result<Option<State>, DatapathError> {
        self.maps.as_ref().map_or(Ok(None), state::read)
    }

    /// Writes down what is enforced now.
    pub fn set_state(&self, state: &State) -> Result<(), DatapathError> {
        self.maps.as_ref().map_or(Ok(()), |maps| state::write(maps, state))
    }

    /// Reads every counter.
    pub fn reading(&self) -> Result<Reading, DatapathError> {
        self.maps.as_ref().map_or_else(|| Ok(Reading::default()), Reading::take)
    }

    /// Reads back what stands. A link whose interface is gone has the index 0 and is left out.
    pub fn standing(&self) -> Result<Standing, DatapathError> {
        let names = self.program_names()?;
        let (mut attachments, mut elsewhere) = (Vec::new(), BTreeSet::new());
        for interface in self.pins.linked_interfaces()? {
            let Some((info, line)) = self.linked(interface)? else { continue };
            if info.interface != 0 {
                let at = line.as_ref().map(|line| line.iter().position(|one| one.link == info.id));
                if at == Some(None) {
                    elsewhere.insert(interface);
                    continue;
                }
                let ahead = line.iter().flatten().take(at.flatten().unwrap_or(0));
                let behind =
                    ahead.filter(|one| !names.contains_key(&one.program)).map(|one| query::in_words(one.program));
                attachments.push(Attachment {
                    interface: info.interface,
                    point: if info.is_xdp { Point::Xdp } else { Point::Tcx },
                    program: info.program,
                    key: names.get(&info.program).cloned(),
                    behind: behind.collect(),
                });
            }
        }
        for interface in self.pins.filtered_interfaces()? {
            if let Some(found) = clsact::find(interface)? {
                attachments.push(Attachment {
                    interface,
                    point: Point::Clsact,
                    program: found.program,
                    key: names.get(&found.program).cloned(),
                    behind: found.ahead,
                });
            }
        }
        Ok(Standing { attachments, elsewhere, programs: names.into_keys().collect() })
    }

    /// The pinned link of an interface, and the line that it should be in where that is known. A daemon at work may put
    /// another link in its place meanwhile: then both are read again.
    fn linked(&self, interface: u32) -> Result<Option<Linked>, DatapathError> {
        let path = self.pins.link(interface);
        let read = || match sys::open_pin(&path).and_then(|link| sys::link_info(link.as_fd())) {
            // It is being renamed, or went since the directory was read: a daemon at work on many members.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            info => info.map(Some).map_err(|error| pin_error("read the link", &path, error)),
        };
        let mut before = read()?;
        loop {
            let Some(info) = before else { return Ok(None) };
            let line = if info.is_xdp { None } else { query::tcx_ingress(interface).ok() };
            let in_line = line.as_ref().is_none_or(|line| line.iter().any(|one| one.link == info.id));
            let after = if in_line { before } else { read()? };
            if after == before {
                return Ok(Some((info, line)));
            }
            before = after;
        }
    }

    fn program_names(&self) -> Result<BTreeMap<u32, String>, DatapathError> {
        let pins = entries(&self.pins.programs())?.into_iter().filter_map(|name| name.into_string().ok());
        Ok(pins.filter_map(|name| Some((Instance::open(&self.pins, &name)?.id, name))).collect())
    }

    pub(super) fn ensure_loaded(
        &mut self,
        key: &ProgramKey,
        rules: &KernelRules,
        family: Family,
    ) -> Result<(), DatapathError> {
        if !self.instances.contains_key(key) {
            let instance = match Instance::open(&self.pins, key.as_str()) {
                Some(instance) => instance,
                None => Instance::load(&self.pins, key, rules, family, self.tracked)?,
            };
            self.instances.insert(key.clone(), instance);
        }
        if self.maps.is_none() {
            self.maps = Some(SharedMaps::open(&self.pins)?);
        }
        Ok(())
    }

    /// Counters must be there before the first packet.
    pub(super) fn ensure_counters(&self, interface: u32) -> Result<(), DatapathError> {
        let Some(maps) = &self.maps else { return Ok(()) };
        maps.interfaces.ensure(interface).map_err(DatapathError::map("write", "interfaces"))
    }

    /// Zeroes the counters of indices that pass from one service to another. No program counts there meanwhile; but an
    /// interface's counters are written as a whole, so that a packet to another service in that instant may go uncounted.
    pub fn clear_services(&self, indices: &[ServiceIndex]) -> Result<(), DatapathError> {
        let Some(maps) = self.maps.as_ref().filter(|_| !indices.is_empty()) else { return Ok(()) };
        let cleared = |counters: &mut InterfaceCounters| {
            for index in indices {
                counters.counters[usize::from(index.get())] = Default::default();
            }
        };
        maps.interfaces.change_all(cleared).map_err(DatapathError::map("write", "interfaces"))
    }

    /// Takes our programs off these interfaces, wherever they have gone, and forgets their counters, so that whoever
    /// gets their indices next starts at zero.
    pub fn release(&mut self, interfaces: &BTreeSet<u32>) -> Result<(), DatapathError> {
        for &interface in interfaces {
            self.drop_link(interface)?;
            self.drop_filter(interface)?;
            self.drop_egress(interface)?;
        }
        let Some(maps) = self.maps.as_ref().filter(|_| !interfaces.is_empty()) else { return Ok(()) };
        for (sources, name) in [(&maps.clients, "clients"), (&maps.strangers, "strangers")] {
            for (key, _) in sources.entries().map_err(DatapathError::map("read", name))? {
                if interfaces.contains(&key.interface) {
                    let removed = sources.remove(&key).map_err(DatapathError::map("write", name))?;
                    self.forgotten += u64::from(removed);
                }
            }
        }
        strangers::forget(maps, interfaces).map_err(DatapathError::map("write", "gate"))?;
        for &interface in interfaces {
            maps.interfaces.remove(interface).map_err(DatapathError::map("write", "interfaces"))?;
        }
        Ok(())
    }

    /// How many sources this process removed with their interfaces.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Detaches an interface's link, if it has one.
    pub(super) fn drop_link(&mut self, interface: u32) -> Result<(), DatapathError> {
        self.links.let_go(interface);
        drop_link(&self.pins, interface)
    }

    /// Removes an interface's filter, if it has one.
    pub(super) fn drop_filter(&self, interface: u32) -> Result<(), DatapathError> {
        if self.had_filter(interface) { clsact::detach(&self.pins, interface) } else { Ok(()) }
    }

    /// Is this interface marked as having our filter? The kernel may know better.
    pub fn had_filter(&self, interface: u32) -> bool {
        self.pins.filter(interface).exists()
    }

    /// Takes the mark off an interface that lost our filter.
    pub fn forget_filter(&self, interface: u32) -> Result<(), DatapathError> {
        self.drop_filter(interface)
    }

    /// Has the interface a qdisc on its way in, whoever made it?
    pub fn has_qdisc(&self, interface: u32) -> Result<bool, DatapathError> {
        clsact::has_qdisc(interface)
    }

    /// Indices with a link or a filter, whether or not the interface still exists.
    pub fn pinned_interfaces(&self) -> Result<BTreeSet<u32>, DatapathError> {
        let mut interfaces = self.pins.linked_interfaces()?;
        interfaces.append(&mut self.pins.filtered_interfaces()?);
        Ok(interfaces)
    }

    /// Unpins programs that nothing wants any more.
    pub fn retain_programs(&mut self, used: &BTreeSet<ProgramKey>) -> Result<(), DatapathError> {
        self.instances.retain(|key, _| used.contains(key));
        for name in entries(&self.pins.programs())? {
            if !used.iter().any(|key| key.as_str() == name) {
                unpin(&self.pins.programs().join(name))?;
            }
        }
        Ok(())
    }
}

/// Detaches the link that is pinned for an interface, at once: without its pin it would be a moment later.
pub(super) fn drop_link(pins: &PinDirectory, interface: u32) -> Result<(), DatapathError> {
    drop_link_at(&pins.link(interface))
}

/// The same by its pin.
pub(super) fn drop_link_at(path: &Path) -> Result<(), DatapathError> {
    if let Ok(link) = sys::open_pin(path) {
        // Fails if the interface is gone, and the link with it.
        let _ = sys::detach_link(link.as_fd());
    }
    unpin(path)
}
