//! Interval sets: overlapping ranges merged, and their edges as the kernel's tree wants them.
//!
//! `net/netfilter/nft_set_rbtree.c` compares keys as bytes, holds each range as a start and an end element (one past
//! the last key, flagged `NFT_SET_ELEM_INTERVAL_END`), and refuses overlaps.

use std::collections::BTreeSet;

use crate::policy::NamePattern;

/// Bytes of an interface name in a set key (`IFNAMSIZ`, `include/uapi/linux/if.h`).
pub(crate) const NAME_LENGTH: usize = 16;

/// A start or end element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The key.
    pub key: Vec<u8>,
    /// One past the last key of a range.
    pub is_end: bool,
}

/// A name as a set key: 16 bytes, the rest filled.
pub(super) fn padded(name: &[u8], fill: u8) -> Vec<u8> {
    let mut key = name.to_vec();
    key.resize(NAME_LENGTH, fill);
    key
}

/// The keys a pattern covers, first and last.
pub(super) fn of_pattern(pattern: &NamePattern) -> (Vec<u8>, Vec<u8>) {
    match pattern {
        NamePattern::Exact(name) => (padded(name.as_str().as_bytes(), 0), padded(name.as_str().as_bytes(), 0)),
        NamePattern::Prefix(prefix) => (padded(prefix.as_bytes(), 0), padded(prefix.as_bytes(), 0xff)),
    }
}

/// The key after this one; `None` after the last.
fn successor(key: &[u8]) -> Option<Vec<u8>> {
    let mut next = key.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, carried) = byte.overflowing_add(1);
        *byte = sum;
        if !carried {
            return Some(next);
        }
    }
    None
}

/// Ranges (first and last key, of one length) → the edges of their union.
pub(super) fn edges(ranges: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> BTreeSet<Edge> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort();
    let mut merged: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if successor(end).is_none_or(|next| first <= next) => {
                if last > *end {
                    *end = last;
                }
            }
            _ => merged.push((first, last)),
        }
    }
    let mut edges = BTreeSet::new();
    for (first, last) in merged {
        edges.insert(Edge { key: first, is_end: false });
        edges.extend(successor(&last).map(|key| Edge { key, is_end: true }));
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(key: [u8; 1], is_end: bool) -> Edge {
        Edge { key: key.to_vec(), is_end }
    }

    #[test]
    fn overlapping_and_touching_ranges_become_one() {
        let ranges = [([5u8], [9u8]), ([1], [2]), ([3], [4]), ([6], [7])];
        let edges = edges(ranges.iter().map(|(first, last)| (first.to_vec(), last.to_vec())));
        assert_eq!(edges, [edge([1], false), edge([10], true)].into());
    }

    #[test]
    fn a_range_up_to_the_last_key_has_no_end() {
        assert_eq!(edges([(vec![0xf0], vec![0xff])].into_iter()), [edge([0xf0], false)].into());
    }
}
