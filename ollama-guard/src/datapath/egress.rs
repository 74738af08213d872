//! The program at egress that notes which connections begin on this side. A kindness: where it cannot be, on kernels before
//! 6.6 or where the hook refuses, nothing else is different.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use ollama_guard_common::abi::Onward;

use super::pins::pin;
use super::sys::{self, LinkHook};
use super::wall::drop_link_at;
use super::{DatapathError, Family, ProgramKey, Wall};
use crate::class::Class;
use crate::plan::rules::KernelRules;

impl Wall {
    /// Sees to it that the interface's egress notes connections from these rules' ports. The program's key, to be retained.
    pub fn note_egress(
        &mut self,
        interface: u32,
        layer3: bool,
        rules: &KernelRules,
    ) -> Result<ProgramKey, DatapathError> {
        // Of the rules it asks for the ports alone: one program for all interfaces.
        let rules = KernelRules {
            class: Class::Guarded,
            observe: false,
            containers_may_enter: false,
            onward: Onward::Drop,
            ports: rules.ports.clone(),
            // Their proxies listen there.
            proxied: BTreeSet::new(),
            allow: BTreeMap::new(),
        };
        let family = if layer3 { Family::EgressLayer3 } else { Family::Egress };
        let key = ProgramKey::new(&rules, family);
        self.ensure_loaded(&key, &rules, family)?;
        let (program, id) = (self.instances[&key].fd.as_fd(), self.instances[&key].id);
        let path = self.pins.egress_link(interface);
        let refused = |error| DatapathError::Pin { action: "attach at egress", path: path.clone(), source: error };
        if let Ok(link) = sys::open_pin(&path) {
            let info = sys::link_info(link.as_fd()).map_err(refused)?;
            if info.interface == interface {
                if info.program != id {
                    sys::update_link(link.as_fd(), program).map_err(refused)?;
                }
                if self.egress.len() < self.links.room() {
                    self.egress.entry(interface).or_insert(link);
                }
                return Ok(key);
            }
            // Of an interface that had this index before.
            drop_link_at(&path)?;
        }
        let link = sys::create_link(program, interface, LinkHook::TcxEgress).map_err(refused)?;
        pin(link.as_fd(), &path)?;
        if self.egress.len() < self.links.room() {
            self.egress.insert(interface, link);
        }
        Ok(key)
    }

    /// Detaches from all but these.
    pub fn retain_egress(&mut self, wanted: &BTreeSet<u32>) -> Result<(), DatapathError> {
        let pinned = self.pins.egress_interfaces()?;
        pinned.difference(wanted).try_for_each(|interface| self.drop_egress(*interface))
    }

    pub(super) fn drop_egress(&mut self, interface: u32) -> Result<(), DatapathError> {
        self.egress.remove(&interface);
        let path = self.pins.egress_link(interface);
        if path.exists() { drop_link_at(&path) } else { Ok(()) }
    }
}
