//! Attaching a program to an interface, and changing hook or program, without a gap.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::clsact;
use super::pins::{pin, unpin};
use super::sys::{self, LinkHook};
use super::{Attachment, DatapathError, Family, Point, ProgramKey, Wall};
use crate::links::features::Snapshot;
use crate::plan::hook::{Hook, HookReason};
use crate::plan::rules::KernelRules;

/// What an interface should have.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The interface's index.
    pub interface: u32,
    /// Its name, for messages.
    pub name: &'a str,
    /// What it receives that is to be judged there.
    pub receives: Receives,
    /// What of ours is attached there now, from [`Wall::standing`].
    pub current: Option<&'a Attachment>,
    /// If that is XDP: native, rather than generic.
    pub native: bool,
    /// A filter may only move into a qdisc that is there; none is made for it.
    pub makes_no_qdisc: bool,
    /// What to enforce.
    pub rules: &'a KernelRules,
    /// Hooks to try, best first.
    pub hooks: &'a [Hook],
}

/// What of an interface's packets is judged there: which of the programs it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receives {
    /// Ethernet frames.
    Frames,
    /// Packets without an Ethernet header.
    Packets,
    /// As a member of a bridge, bond or team: the frames that its master never sees. By traffic control only.
    LinkLocal,
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
    /// A better hook is taken just now: by a program that came this moment, or one of ours that is on its way out.
    pub busy: bool,
}

impl Target<'_> {
    const fn family(&self, hook: Hook) -> Family {
        match (hook, self.receives) {
            (Hook::XdpNative | Hook::XdpGeneric, _) => Family::Xdp,
            (Hook::Tcx | Hook::Clsact, Receives::Frames) => Family::Tc,
            (Hook::Tcx | Hook::Clsact, Receives::Packets) => Family::TcLayer3,
            (Hook::Tcx | Hook::Clsact, Receives::LinkLocal) => Family::TcMember,
        }
    }

    /// Is it attached at this hook already?
    fn is_at(&self, hook: Hook) -> bool {
        match (self.current.map(|current| current.point), hook) {
            (Some(Point::Xdp), Hook::XdpNative) => self.native,
            (Some(Point::Xdp), Hook::XdpGeneric) => !self.native,
            (Some(Point::Tcx), Hook::Tcx) | (Some(Point::Clsact), Hook::Clsact) => true,
            _ => false,
        }
    }
}

impl Wall {
    /// Makes the interface enforce its rules by the best hook that takes it. What stands is replaced in place, and
    /// goes only once its successor is there.
    pub fn enforce(&mut self, target: &Target<'_>) -> Result<Enforced, DatapathError> {
        let (mut refused, mut busy) = (Vec::new(), Vec::new());
        let mut stand_in = None;
        for &hook in target.hooks {
            match self.try_hook(target, hook, &mut stand_in) {
                Ok((key, changed)) => {
                    // The other kind of attachment: what this one came to replace, or a change that was cut short.
                    if hook == Hook::Clsact {
                        self.drop_link(target.interface)?;
                    } else {
                        self.drop_filter(target.interface)?;
                    }
                    return Ok(Enforced { hook, key, changed, refused, busy: !busy.is_empty() });
                }
                Err(Refusal::Fatal(error)) => return Err(error),
                Err(Refusal::Hook(reason)) => refused.push((hook, reason)),
                Err(Refusal::Busy(reason)) => busy.push((hook, reason)),
            }
        }
        let reasons: Vec<String> =
            refused.iter().chain(&busy).map(|(hook, reason)| format!("{hook}: {reason}")).collect();
        Err(DatapathError::Attach { interface: target.name.to_owned(), reasons: reasons.join("; ") })
    }

    fn try_hook(
        &mut self,
        target: &Target<'_>,
        hook: Hook,
        stand_in: &mut Option<OwnedFd>,
    ) -> Result<(ProgramKey, bool), Refusal> {
        let key = self.ready(target, hook)?;
        let (program, id) = (self.instances[&key].fd.as_fd(), self.instances[&key].id);
        let here = target.is_at(hook);
        if here && target.current.is_some_and(|current| current.program == id) {
            return Ok((key, false));
        }
        if hook == Hook::Clsact {
            let attached = clsact::attach(&self.pins, target.interface, program, !target.makes_no_qdisc);
            return match attached {
                // It went a moment ago, or the next one is on its way.
                Err(error @ DatapathError::Netlink(_)) if target.makes_no_qdisc => {
                    Err(Refusal::Busy(error.to_string()))
                }
                attached => Ok(attached.map(|()| (key, true))?),
            };
        }
        if here {
            sys::update_link(sys::open_pin(&self.pins.link(target.interface))?.as_fd(), program)?;
            return Ok((key, true));
        }
        let at_xdp = target.current.is_some_and(|current| current.point == Point::Xdp);
        if at_xdp && !hook.is_tc() && stand_in.is_none() {
            // The other XDP mode needs the hook free. Traffic control, dropped when all is done, guards meanwhile.
            *stand_in = self.stand_in(target)?;
            self.drop_link(target.interface)?;
        }
        let link = match hook {
            Hook::XdpNative => self.link_native(target)?,
            Hook::XdpGeneric => self.link(target, hook, LinkHook::XdpGeneric)?,
            Hook::Tcx | Hook::Clsact => self.link(target, hook, LinkHook::Tcx)?,
        };
        self.install(target, link)?;
        Ok((key, true))
    }

    /// Loads what the hook needs and makes room for the counters.
    fn ready(&mut self, target: &Target<'_>, hook: Hook) -> Result<ProgramKey, DatapathError> {
        let family = target.family(hook);
        let key = ProgramKey::new(target.rules, family);
        self.ensure_loaded(&key, target.rules, family)?;
        self.ensure_counters(target.interface)?;
        Ok(key)
    }

    /// A new link, attached as long as it is held.
    fn link(&mut self, target: &Target<'_>, hook: Hook, at: LinkHook) -> Result<OwnedFd, Refusal> {
        let key = self.ready(target, hook)?;
        let link = sys::create_link(self.instances[&key].fd.as_fd(), target.interface, at);
        match link {
            Err(error) if at == LinkHook::Tcx && error.raw_os_error() == Some(libc::EINVAL) => {
                Err(Refusal::Hook(format!("kernels before 6.6 have none ({error})")))
            }
            link => Ok(link?),
        }
    }

    /// A filter, which stays; made or replaced in place.
    fn filter(&mut self, target: &Target<'_>) -> Result<(), Refusal> {
        let key = self.ready(target, Hook::Clsact)?;
        Ok(clsact::attach(&self.pins, target.interface, self.instances[&key].fd.as_fd(), !target.makes_no_qdisc)?)
    }

    /// Guards while XDP is off: a link that is attached as long as it is held or, on kernels without TCX, a filter,
    /// which goes when the new hook has taken over.
    fn stand_in(&mut self, target: &Target<'_>) -> Result<Option<OwnedFd>, Refusal> {
        match self.link(target, Hook::Tcx, LinkHook::Tcx) {
            Err(Refusal::Hook(_) | Refusal::Busy(_)) => self.filter(target).map(|()| None),
            link => link.map(Some),
        }
    }

    /// Attaches in the driver, unless that changes anything else about the device.
    fn link_native(&mut self, target: &Target<'_>) -> Result<OwnedFd, Refusal> {
        let read = || Snapshot::read(target.interface).map_err(|error| Refusal::Hook(error.to_string()));
        let before = read()?;
        let link = self.link(target, Hook::XdpNative, LinkHook::XdpNative)?;
        let differences = before.differences(&read()?);
        if differences.is_empty() {
            return Ok(link);
        }
        Err(Refusal::Hook(HookReason::RolledBack(differences).to_string()))
    }

    /// Lets the link's pin take the place of the old one's, which detaches that.
    fn install(&mut self, target: &Target<'_>, link: OwnedFd) -> Result<(), DatapathError> {
        let next = self.pins.next_link(target.interface);
        unpin(&next)?;
        pin(link.as_fd(), &next)?;
        self.pins.install_link(target.interface)?;
        self.links.hold(target.interface, link);
        Ok(())
    }
}

/// Why a hook did not take.
enum Refusal {
    /// This hook will not do; another may.
    Hook(String),
    /// This one is taken now, and may not be in a moment.
    Busy(String),
    /// No hook will.
    Fatal(DatapathError),
}

impl From<DatapathError> for Refusal {
    fn from(error: DatapathError) -> Self {
        match error {
            DatapathError::Load { .. } | DatapathError::Netlink(_) => Self::Hook(error.to_string()),
            error => Self::Fatal(error),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM) => Self::Fatal(DatapathError::NotPermitted),
            Some(libc::EBUSY | libc::EEXIST) => Self::Busy(error.to_string()),
            _ => Self::Hook(error.to_string()),
        }
    }
}
