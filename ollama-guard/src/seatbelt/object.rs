//! An nftables object as plain data: what goes to the kernel and what comes back, in one form, so that the two can be
//! compared. `libnftnl` is the only module that turns it into libnftnl's structures and back.

use std::collections::BTreeMap;

/// Which structure of libnftnl an [`Object`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// `nftnl_table`
    Table,
    /// `nftnl_chain`
    Chain,
    /// `nftnl_rule`, with expressions inside
    Rule,
    /// `nftnl_set`, with elements inside
    Set,
    /// `nftnl_set_elem`, perhaps with an expression inside
    Element,
    /// `nftnl_obj`: a named counter
    Counter,
    /// `nftnl_expr`, perhaps with an expression inside
    Expression,
}

/// A kind, its attributes by libnftnl's numbers (bytes in the kernel's order; texts end in NUL) and what is inside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) attributes: BTreeMap<u16, Vec<u8>>,
    pub(super) inside: Vec<Object>,
}

impl Object {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, attributes: BTreeMap::new(), inside: Vec::new() }
    }

    /// Adds an attribute; libnftnl's attribute numbers are small.
    pub(super) fn with(mut self, attribute: u32, value: impl Value) -> Self {
        self.attributes.insert(number(attribute), value.bytes());
        self
    }

    pub(super) fn containing(mut self, inside: impl IntoIterator<Item = Self>) -> Self {
        self.inside.extend(inside);
        self
    }

    pub(super) fn bytes(&self, attribute: u32) -> Option<&[u8]> {
        self.attributes.get(&number(attribute)).map(Vec::as_slice)
    }

    pub(super) fn u32(&self, attribute: u32) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes(attribute)?.try_into().ok()?))
    }

    pub(super) fn u64(&self, attribute: u32) -> Option<u64> {
        Some(u64::from_ne_bytes(self.bytes(attribute)?.try_into().ok()?))
    }

    pub(super) fn text(&self, attribute: u32) -> Option<&str> {
        let bytes = self.bytes(attribute)?;
        std::str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()
    }
}

fn number(attribute: u32) -> u16 {
    u16::try_from(attribute).expect("libnftnl numbers attributes in 16 bits")
}

/// What an attribute can be set to.
pub(super) trait Value {
    fn bytes(self) -> Vec<u8>;
}

impl Value for u32 {
    fn bytes(self) -> Vec<u8> {
        self.to_ne_bytes().to_vec()
    }
}

impl Value for u64 {
    fn bytes(self) -> Vec<u8> {
        self.to_ne_bytes().to_vec()
    }
}

impl Value for i32 {
    fn bytes(self) -> Vec<u8> {
        self.to_ne_bytes().to_vec()
    }
}

impl Value for u8 {
    fn bytes(self) -> Vec<u8> {
        vec![self]
    }
}

impl Value for Vec<u8> {
    fn bytes(self) -> Vec<u8> {
        self
    }
}

impl Value for &str {
    fn bytes(self) -> Vec<u8> {
        [self.as_bytes(), &[0]].concat()
    }
}
