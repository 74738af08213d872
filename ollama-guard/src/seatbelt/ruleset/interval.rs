//! Interval sets: overlapping ranges merged, and their edges as the kernel's tree wants them.
//!
//! `net/netfilter/nft_set_rbtree.c` compares keys as bytes, holds each range as a start and an end element (one past
//! the last key, flagged `NFT_SET_ELEM_INTERVAL_END`), and refuses overlaps.

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

/// Keys from the first up to the one before `end`; up to the last there is, without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    first: Vec<u8>,
    end: Option<Vec<u8>>,
}

/// Ranges (first and last key, of one length) → their union, sorted.
pub(super) fn union(ranges: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Vec<Range> {
    let mut ranges: Vec<_> = ranges.map(|(first, last)| Range { first, end: successor(&last) }).collect();
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(Range { end: None, .. }) => {}
            Some(Range { end: Some(end), .. }) if range.first <= *end => {
                if range.end.as_ref().is_none_or(|next| next > end) {
                    merged.last_mut().expect("there is one").end = range.end;
                }
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// The elements that hold these ranges.
pub(super) fn edges(ranges: Vec<Range>) -> Vec<Edge> {
    let edges = ranges.into_iter().flat_map(|Range { first, end }| {
        let start = Edge { key: first, is_end: false };
        [Some(start), end.map(|key| Edge { key, is_end: true })]
    });
    edges.flatten().collect()
}

/// What of one union is not in another: ranges that are equal stay, all others are replaced whole.
pub(super) fn without(ranges: &[Range], others: &[Range]) -> Vec<Range> {
    let mut others = others.iter().peekable();
    let is_new = |range: &&Range| {
        while others.next_if(|other| other < range).is_some() {}
        others.peek() != Some(range)
    };
    ranges.iter().filter(is_new).cloned().collect()
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
        let edges = edges(union(ranges.iter().map(|(first, last)| (first.to_vec(), last.to_vec()))));
        assert_eq!(edges, [edge([1], false), edge([10], true)]);
    }

    #[test]
    fn a_range_up_to_the_last_key_has_no_end() {
        let ranges = [(vec![0xf0], vec![0xff]), (vec![0xf1], vec![0xf2])];
        assert_eq!(edges(union(ranges.into_iter())), [edge([0xf0], false)]);
    }

    #[test]
    fn only_ranges_that_differ_are_replaced() {
        let union = |ranges: &[(u8, u8)]| union(ranges.iter().map(|&(first, last)| (vec![first], vec![last])));
        let (before, after) = (union(&[(1, 2), (5, 6), (9, 9)]), union(&[(1, 2), (5, 7), (20, 21)]));
        assert_eq!(without(&before, &after), union(&[(5, 6), (9, 9)]));
        assert_eq!(without(&after, &before), union(&[(5, 7), (20, 21)]));
    }
}
