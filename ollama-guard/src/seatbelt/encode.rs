//! From the ruleset to nftables objects.

mod expression;
mod set;

use nftnl::nftnl_sys::{self as sys, libc};

pub(super) use set::{by_name, element_messages, set};

use super::object::{Kind, Object};
use super::ruleset::{Chain, CounterName, Hook, Look, Rule};

/// `NFPROTO_INET`: IPv4 and IPv6 in one table (`include/uapi/linux/netfilter.h`).
pub(super) const FAMILY: u32 = libc::NFPROTO_INET as u32;

/// `NFT_OBJECT_COUNTER` (`include/uapi/linux/netfilter/nf_tables.h`).
pub(super) const OBJECT_COUNTER: u32 = 1;

/// A table by name, its flags if it is to be made.
pub(super) fn table(name: &str, flags: Option<u32>) -> Object {
    let table = Object::new(Kind::Table).with(sys::NFTNL_TABLE_NAME, name).with(sys::NFTNL_TABLE_FAMILY, FAMILY);
    match flags {
        Some(flags) => table.with(sys::NFTNL_TABLE_FLAGS, flags),
        None => table,
    }
}

/// A chain; a base chain with its hook, priority and policy accept.
pub(super) fn chain(table: &str, chain: &Chain) -> Object {
    let object = chain_name(table, &chain.name);
    let Some(place) = chain.hook else { return object };
    let number = match (place.hook, place.look) {
        (Hook::Prerouting, Look::Note) | (Hook::Forward, Look::Last) => libc::NF_INET_POST_ROUTING,
        (_, Look::Note) => libc::NF_INET_LOCAL_OUT,
        (Hook::Prerouting, _) => libc::NF_INET_PRE_ROUTING,
        (Hook::Input, _) => libc::NF_INET_LOCAL_IN,
        (Hook::Forward, Look::First) => libc::NF_INET_FORWARD,
    };
    object
        .with(sys::NFTNL_CHAIN_TYPE, "filter")
        .with(sys::NFTNL_CHAIN_HOOKNUM, number.cast_unsigned())
        .with(sys::NFTNL_CHAIN_PRIO, place.priority())
        .with(sys::NFTNL_CHAIN_POLICY, libc::NF_ACCEPT.cast_unsigned())
}

/// A chain by name.
pub(super) fn chain_name(table: &str, name: &str) -> Object {
    Object::new(Kind::Chain)
        .with(sys::NFTNL_CHAIN_NAME, name)
        .with(sys::NFTNL_CHAIN_FAMILY, FAMILY)
        .with(sys::NFTNL_CHAIN_TABLE, table)
}

/// All rules of a chain, to delete or to ask for.
pub(super) fn rules_of(table: &str, chain: &str) -> Object {
    Object::new(Kind::Rule)
        .with(sys::NFTNL_RULE_FAMILY, FAMILY)
        .with(sys::NFTNL_RULE_TABLE, table)
        .with(sys::NFTNL_RULE_CHAIN, chain)
}

/// A rule with its comment.
pub(super) fn rule(table: &str, chain: &str, rule: &Rule) -> Object {
    rules_of(table, chain).with(sys::NFTNL_RULE_USERDATA, comment(&rule.comment)).containing(expression::of(rule))
}

/// A comment as `nft` writes it: type 0 (`NFTNL_UDATA_RULE_COMMENT`), length, the text with its NUL
/// (`include/libnftnl/udata.h`).
fn comment(text: &str) -> Vec<u8> {
    let mut end = text.len().min(sys::NFTNL_UDATA_COMMENT_MAXLEN as usize - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let length = u8::try_from(end + 1).expect("at most 128");
    [&[0, length], &text.as_bytes()[..end], &[0]].concat()
}

/// A named counter that starts at these values.
pub(super) fn counter(table: &str, name: &str, packets: u64, bytes: u64) -> Object {
    Object::new(Kind::Counter)
        .with(sys::NFTNL_OBJ_TABLE, table)
        .with(sys::NFTNL_OBJ_NAME, name)
        .with(sys::NFTNL_OBJ_FAMILY, FAMILY)
        .with(sys::NFTNL_OBJ_TYPE, OBJECT_COUNTER)
        .with(sys::NFTNL_OBJ_CTR_PKTS, packets)
        .with(sys::NFTNL_OBJ_CTR_BYTES, bytes)
}

/// The name a rule counts under.
pub(super) fn counter_name(counter: CounterName) -> String {
    counter.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit is libnftnl's, in bytes; half a character would be no text.
    #[test]
    fn a_long_comment_ends_with_a_whole_character() {
        assert_eq!(comment("why"), [0, 4, b'w', b'h', b'y', 0]);
        for text in ["x".repeat(200), "é".repeat(100), "x".to_owned() + &"é".repeat(100)] {
            let comment = comment(&text);
            let [0, length, kept @ .., 0] = comment.as_slice() else { panic!("{comment:?}") };
            assert_eq!(usize::from(*length), kept.len() + 1);
            assert!((127..=128).contains(length), "as long as may be: {length}");
            assert!(text.starts_with(std::str::from_utf8(kept).unwrap()));
        }
    }
}
