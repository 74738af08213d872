//! Which program is attached where, and changing that without a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::map::Write;
use super::pins::{entries, pin_error, unpin};
use super::program::Instance;
use super::shared::SharedMaps;
use super::sys::{self, LinkHook};
use super::{DatapathError, Family, PinDirectory, ProgramKey, Reading, State, state};
use crate::plan::hook::Hook;
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
}

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

/// What an interface should have.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The interface's index.
    pub interface: u32,
    /// Its name, for messages.
    pub name: &'a str,
    /// It has no Ethernet header.
    pub layer3: bool,
    /// How XDP is attached there now: native or not.
    pub native: bool,
    /// What to enforce.
    pub rules: &'a KernelRules,
    /// Hooks to try, best first.
    pub hooks: &'a [Hook],
}

/// What became of a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// The hook in use.
    pub hook: Hook,
    /// The program there.
    pub key: ProgramKey,
    /// Something was changed.
    pub changed: bool,
    /// Better hooks that refused, and why.
    pub refused: Vec<(Hook, String)>,
}

/// The kernel side of the guard.
#[derive(Debug)]
pub struct Wall {
    pins: PinDirectory,
    tracked: u32,
    instances: BTreeMap<ProgramKey, Instance>,
    maps: Option<SharedMaps>,
}

impl Wall {
    /// Opens the wall to change it; makes the pin directory. `tracked`: capacity of the table of sources.
    pub fn create(pins: PinDirectory, tracked: u32) -> Result<Self, DatapathError> {
        pins.create()?;
        let maps = SharedMaps::open(&pins).ok();
        Ok(Self { pins, tracked, instances: BTreeMap::new(), maps })
    }

    /// Opens the wall to read it; `None` if nothing was ever pinned.
    pub fn open(pins: PinDirectory) -> Result<Option<Self>, DatapathError> {
        if !pins.versions()?.ours {
            return Ok(None);
        }
        let maps = Some(SharedMaps::open(&pins)?);
        Ok(Some(Self { pins, tracked: 0, instances: BTreeMap::new(), maps }))
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

    /// Reads back what is attached where. A link whose interface is gone has the index 0 and is left out.
    pub fn attachments(&self) -> Result<Vec<Attachment>, DatapathError> {
        let names = self.program_names()?;
        let mut attachments = Vec::new();
        for pin in entries(&self.pins.links())? {
            let path = self.pins.links().join(&pin);
            let info = sys::open_pin(&path).and_then(|link| sys::link_info(link.as_fd()));
            let info = info.map_err(|error| pin_error("read the link", &path, error))?;
            if info.interface != 0 {
                attachments.push(Attachment {
                    interface: info.interface,
                    point: if info.is_xdp { Point::Xdp } else { Point::Tcx },
                    program: info.program,
                    key: names.get(&info.program).cloned(),
                });
            }
        }
        Ok(attachments)
    }

    fn program_names(&self) -> Result<BTreeMap<u32, String>, DatapathError> {
        let pins = entries(&self.pins.programs())?.into_iter().filter_map(|name| name.into_string().ok());
        Ok(pins.filter_map(|name| Some((Instance::open(&self.pins, &name)?.id, name))).collect())
    }

    /// Ids of our own programs.
    pub fn program_ids(&self) -> Result<BTreeSet<u32>, DatapathError> {
        Ok(self.program_names()?.into_keys().collect())
    }

    /// Makes the interface enforce its rules by the best hook that takes it. What stands is replaced in place, and
    /// goes only once its successor is there.
    pub fn enforce(&mut self, target: &Target<'_>) -> Result<Enforced, DatapathError> {
        let current = self.attachments()?.into_iter().find(|found| found.interface == target.interface);
        let mut refused = Vec::new();
        for &hook in target.hooks {
            match self.try_hook(target, hook, current.as_ref()) {
                Ok((key, changed)) => return Ok(Enforced { hook, key, changed, refused }),
                Err(Refusal::Fatal(error)) => return Err(error),
                Err(Refusal::Hook(reason)) => refused.push((hook, reason)),
            }
        }
        let reasons: Vec<String> = refused.iter().map(|(hook, reason)| format!("{hook}: {reason}")).collect();
        Err(DatapathError::Attach { interface: target.name.to_owned(), reasons: reasons.join("; ") })
    }

    fn try_hook(
        &mut self,
        target: &Target<'_>,
        hook: Hook,
        current: Option<&Attachment>,
    ) -> Result<(ProgramKey, bool), Refusal> {
        let family = match hook {
            Hook::XdpNative | Hook::XdpGeneric => Family::Xdp,
            Hook::Tcx | Hook::Clsact if target.layer3 => Family::TcLayer3,
            Hook::Tcx | Hook::Clsact => Family::Tc,
        };
        let key = ProgramKey::new(target.rules, family);
        self.ensure_loaded(&key, target.rules, family)?;
        self.ensure_counters(target.interface)?;
        let id = self.instances[&key].id;
        let path = self.pins.link(target.interface);
        let stays = current.is_some_and(|current| match (current.point, hook) {
            (Point::Xdp, Hook::XdpNative) => target.native,
            (Point::Xdp, Hook::XdpGeneric) => !target.native,
            (Point::Tcx, Hook::Tcx) => true,
            _ => false,
        });
        if stays {
            if current.is_some_and(|current| current.program == id) {
                return Ok((key, false));
            }
            let link = sys::open_pin(&path)?;
            sys::update_link(link.as_fd(), self.instances[&key].fd.as_fd())?;
            return Ok((key, true));
        }
        // The other XDP mode needs the XDP hook free: a TCX link, dropped at the end, stands in meanwhile.
        let _stand_in = match (current.map(|current| current.point), hook) {
            (Some(Point::Xdp), Hook::XdpNative | Hook::XdpGeneric) => Some(self.stand_in(target)?),
            _ => None,
        };
        let fd = self.instances[&key].fd.as_fd();
        match hook {
            Hook::Clsact => return Err(Refusal::Hook("not supported yet".to_owned())),
            Hook::XdpNative => self.replace_link(target, fd, LinkHook::XdpNative)?,
            Hook::XdpGeneric => self.replace_link(target, fd, LinkHook::XdpGeneric)?,
            Hook::Tcx => self.replace_link(target, fd, LinkHook::Tcx)?,
        }
        Ok((key, true))
    }

    /// Attaches by a new link and lets its pin take the place of the old one's, which detaches that.
    fn replace_link(&self, target: &Target<'_>, program: BorrowedFd<'_>, hook: LinkHook) -> Result<(), Refusal> {
        let path = self.pins.link(target.interface);
        if matches!(hook, LinkHook::XdpNative | LinkHook::XdpGeneric) && is_xdp(&path) {
            unpin(&path)?;
        }
        let link = sys::create_link(program, target.interface, hook)?;
        let fresh = path.with_file_name(format!("{}-new", target.interface));
        unpin(&fresh)?;
        sys::pin(link.as_fd(), &fresh).map_err(|error| pin_error("pin", &fresh, error))?;
        fs::rename(&fresh, &path).map_err(|error| pin_error("rename", &fresh, error))?;
        Ok(())
    }

    fn stand_in(&mut self, target: &Target<'_>) -> Result<OwnedFd, Refusal> {
        let family = if target.layer3 { Family::TcLayer3 } else { Family::Tc };
        let key = ProgramKey::new(target.rules, family);
        self.ensure_loaded(&key, target.rules, family)?;
        Ok(sys::create_link(self.instances[&key].fd.as_fd(), target.interface, LinkHook::Tcx)?)
    }

    fn ensure_loaded(&mut self, key: &ProgramKey, rules: &KernelRules, family: Family) -> Result<(), DatapathError> {
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
    fn ensure_counters(&self, interface: u32) -> Result<(), DatapathError> {
        let Some(maps) = &self.maps else { return Ok(()) };
        match maps.interfaces.set_zero_per_cpu(&interface, Write::New) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(DatapathError::map("write", "interfaces")(error))
            }
            _ => Ok(()),
        }
    }

    /// Takes our program off an interface, wherever that has gone, and forgets its counters.
    pub fn release(&mut self, interface: u32) -> Result<(), DatapathError> {
        let path = self.pins.link(interface);
        if let Ok(link) = sys::open_pin(&path) {
            // Fails if the interface is gone, and the link with it.
            let _ = sys::detach_link(link.as_fd());
        }
        unpin(&path)?;
        match &self.maps {
            Some(maps) => maps.interfaces.remove(&interface).map_err(DatapathError::map("write", "interfaces")),
            None => Ok(()),
        }
    }

    /// Indices with a link pin, whether or not the interface still exists.
    pub fn pinned_interfaces(&self) -> Result<BTreeSet<u32>, DatapathError> {
        let names = entries(&self.pins.links())?;
        Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }

    /// Unpins programs that enforce nothing any more.
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

fn is_xdp(path: &std::path::Path) -> bool {
    let info = sys::open_pin(path).and_then(|link| sys::link_info(link.as_fd()));
    info.is_ok_and(|info| info.is_xdp)
}

/// Why a hook did not take.
enum Refusal {
    /// This hook will not do; another may.
    Hook(String),
    /// No hook will.
    Fatal(DatapathError),
}

impl From<DatapathError> for Refusal {
    fn from(error: DatapathError) -> Self {
        match error {
            DatapathError::Load { .. } => Self::Hook(error.to_string()),
            error => Self::Fatal(error),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM) => Self::Fatal(DatapathError::NotPermitted),
            _ => Self::Hook(error.to_string()),
        }
    }
}
