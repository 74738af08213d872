//! What other versions of the program left attached: it goes once this one enforces everywhere.

use super::clsact;
use super::wall::{drop_link, drop_link_at};
use super::{DatapathError, PinDirectory, Wall};

impl Wall {
    /// Detaches and unpins what other versions left. Only when this one enforces everywhere, or there would be a gap.
    /// True if there was anything: an interface may have had no room for a better hook.
    pub fn retire_others(&self) -> Result<bool, DatapathError> {
        let others = self.pins.versions()?.others;
        for name in &others {
            let other = self.pins.other(name);
            for interface in other.linked_interfaces()? {
                drop_link(&other, interface)?;
            }
            for interface in other.egress_interfaces()? {
                drop_link_at(&other.egress_link(interface))?;
            }
            self.take_over_filters(&other)?;
            other.remove()?;
        }
        Ok(!others.is_empty())
    }

    /// A filter that this version replaced in place is this one's by now, with the qdisc it is in.
    fn take_over_filters(&self, other: &PinDirectory) -> Result<(), DatapathError> {
        for interface in other.filtered_interfaces()? {
            if !self.pins.filter(interface).exists() {
                clsact::detach(other, interface)?;
            } else if other.filter_qdisc(interface).exists() {
                clsact::make(&self.pins.filter_qdisc(interface))?;
            }
        }
        Ok(())
    }
}
