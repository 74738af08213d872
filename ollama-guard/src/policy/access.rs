//! Who reaches a guarded port through an interface, in one word.

use serde::{Deserialize, Serialize};

use super::{Allow, ContainerAccess, InterfaceName, Mode, Policy};
use crate::class::Class;

/// What the policy makes of packets to a guarded port of this host that arrive on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// They pass.
    Open,
    /// Those from sources that an `[[allow]]` names pass.
    AllowList,
    /// They are dropped.
    Closed,
}

impl Access {
    /// Status column and JSON value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::AllowList => "allow-list",
            Self::Closed => "closed",
        }
    }
}

impl Policy {
    /// The access that an interface of this class and name gives.
    pub fn access(&self, class: Class, interface: &InterfaceName) -> Access {
        let is_open = match class {
            Class::Trusted => true,
            Class::Container => self.container_access == ContainerAccess::Allow,
            Class::Guarded => false,
        };
        // What a profile implies is for guarded interfaces only.
        let admits = |allow: &Allow| {
            let is_here = allow.interface.as_ref().is_none_or(|named| named == interface);
            is_here && (class == Class::Guarded || !allow.implied)
        };
        if is_open || self.mode == Mode::Observe {
            Access::Open
        } else if self.allow.iter().any(admits) {
            Access::AllowList
        } else {
            Access::Closed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::built_in;

    #[test]
    fn a_class_opens_or_closes_and_an_allow_list_makes_exceptions() {
        let (eth0, eth1) = ("eth0".parse().unwrap(), "eth1".parse().unwrap());
        let mut policy = built_in();
        let classes = [Class::Trusted, Class::Container, Class::Guarded];
        let access = |policy: &Policy, name| classes.map(|class| policy.access(class, name).as_str());
        assert_eq!(access(&policy, &eth0), ["open", "closed", "closed"]);
        let source = "192.168.1.50/32".parse().unwrap();
        policy.allow =
            vec![Allow { source, interface: Some(eth0.clone()), service: None, comment: None, implied: false }];
        assert_eq!(policy.access(Class::Guarded, &eth0), Access::AllowList);
        assert_eq!(policy.access(Class::Guarded, &eth1), Access::Closed);
        assert_eq!(policy.access(Class::Container, &eth0), Access::AllowList);
        policy.allow[0].implied = true;
        assert_eq!(policy.access(Class::Container, &eth0), Access::Closed);
        policy.container_access = ContainerAccess::Allow;
        assert_eq!(policy.access(Class::Container, &eth1), Access::Open);
        policy.mode = Mode::Observe;
        assert_eq!(access(&policy, &eth1), ["open"; 3]);
    }
}
