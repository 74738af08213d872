//! Rules as the kernel's instructions: load into a register, compare, decide.
//!
//! The numbers are from `include/uapi/linux/netfilter/nf_tables.h`. Attributes are given even where the kernel has a
//! default, because a dump gives them too.

use nftnl::nftnl_sys::{self as sys, libc};

use super::OBJECT_COUNTER;
use crate::seatbelt::object::{Kind, Object};
use crate::seatbelt::ruleset::{AddressType, Device, Family, Match, Rule, Verdict};

const REGISTER_1: u32 = 1;
/// Sixteen bytes after register 1: the second interface name of a pair.
const REGISTER_2: u32 = 2;
/// Four bytes after the start of register 1 (`NFT_REG32_01`): the port after the protocol.
const REGISTER_1_SECOND_WORD: u32 = 9;
/// The words behind an address at the start of register 1: of IPv4 `NFT_REG32_01` and `_02`, of IPv6 register 2 and
/// `NFT_REG32_05`.
const BEHIND_V4: [u32; 2] = [9, 10];
const BEHIND_V6: [u32; 2] = [REGISTER_2, 13];
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// `NFT_DYNSET_OP_UPDATE`
const UPDATE: u32 = 1;

const META_IIF: u32 = 4;
const META_L4PROTO: u32 = 16;
const META_NFPROTO: u32 = 15;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_SDIF: u32 = 33;
const META_SDIFNAME: u32 = 34;
const CONNTRACK_STATE: u32 = 0;
const CONNTRACK_DIRECTION: u32 = 1;
const CONNTRACK_STATUS: u32 = 2;

/// The instructions of a rule.
pub(super) fn of(rule: &Rule) -> Vec<Object> {
    let mut code: Vec<Object> = rule.matches.iter().flat_map(condition).collect();
    if let Some((device, set)) = &rule.count_interface {
        code.push(meta(name_of(*device), REGISTER_1));
        code.push(count_in(set));
    }
    if let Some(counter) = rule.counter {
        code.push(
            expression("objref")
                .with(sys::NFTNL_EXPR_OBJREF_IMM_TYPE, OBJECT_COUNTER)
                .with(sys::NFTNL_EXPR_OBJREF_IMM_NAME, counter.to_string().as_str()),
        );
    }
    if let Verdict::Note(family, set) = &rule.verdict {
        code.extend(ends(*family, false));
        code.push(update(set));
    }
    code.extend(verdict(&rule.verdict));
    code
}

fn condition(condition: &Match) -> Vec<Object> {
    match condition {
        Match::Device { device, set, negated } => vec![meta(name_of(*device), REGISTER_1), lookup(set, *negated)],
        Match::DeviceIs(device, name) => {
            let mut key = name.as_str().as_bytes().to_vec();
            key.resize(libc::IFNAMSIZ, 0);
            vec![meta(name_of(*device), REGISTER_1), compare(EQUAL, key)]
        }
        Match::NoMember => vec![meta(META_SDIF, REGISTER_1), compare(EQUAL, vec![0; 4])],
        Match::NoIngress => vec![meta(META_IIF, REGISTER_1), compare(EQUAL, vec![0; 4])],
        Match::Translated => {
            /// `IPS_DST_NAT` (`include/uapi/linux/netfilter/nf_conntrack_common.h`)
            const TRANSLATED: u32 = 1 << 5;
            let original = [conntrack(CONNTRACK_DIRECTION), compare(EQUAL, vec![0])];
            let status = [conntrack(CONNTRACK_STATUS), mask(TRANSLATED.to_ne_bytes().to_vec())];
            original.into_iter().chain(status).chain([compare(NOT_EQUAL, vec![0; 4])]).collect()
        }
        Match::Untracked => {
            /// `NF_CT_STATE_UNTRACKED_BIT` (`include/uapi/linux/netfilter/nf_conntrack_common.h`)
            const UNTRACKED: u32 = 1 << 6;
            let state = [conntrack(CONNTRACK_STATE), mask(UNTRACKED.to_ne_bytes().to_vec())];
            state.into_iter().chain([compare(NOT_EQUAL, vec![0; 4])]).collect()
        }
        Match::Devices(set) => {
            vec![meta(META_IIFNAME, REGISTER_1), meta(META_OIFNAME, REGISTER_2), lookup(set, false)]
        }
        Match::Port { set, negated } => vec![
            meta(META_L4PROTO, REGISTER_1),
            payload(TRANSPORT_HEADER, 2, 2, REGISTER_1_SECOND_WORD),
            lookup(set, *negated),
        ],
        Match::Endpoint { family, set, negated } => {
            let (offset, length, [protocol, port]) = match family {
                Family::V4 => (16, 4, BEHIND_V4),
                Family::V6 => (24, 16, BEHIND_V6),
            };
            let parts = [
                payload(NETWORK_HEADER, offset, length, REGISTER_1),
                meta(META_L4PROTO, protocol),
                payload(TRANSPORT_HEADER, 2, 2, port),
                lookup(set, *negated),
            ];
            only(*family).into_iter().chain(parts).collect()
        }
        Match::ProtocolIsNot(protocol) => {
            vec![meta(META_L4PROTO, REGISTER_1), compare(NOT_EQUAL, vec![protocol.number()])]
        }
        Match::ProtocolIsNeither => vec![
            meta(META_L4PROTO, REGISTER_1),
            compare(NOT_EQUAL, vec![6]),
            meta(META_L4PROTO, REGISTER_1),
            compare(NOT_EQUAL, vec![17]),
        ],
        // RFC 791: the low 13 bits; RFC 8200, section 4.5: the high 13 bits.
        Match::LaterFragment(Family::V4) => {
            let offset = [payload(NETWORK_HEADER, 6, 2, REGISTER_1), mask(vec![0x1f, 0xff])];
            only(Family::V4).into_iter().chain(offset).chain([compare(NOT_EQUAL, vec![0, 0])]).collect()
        }
        Match::LaterFragment(Family::V6) => {
            let offset = [fragment_offset(), mask(vec![0xff, 0xf8])];
            only(Family::V6).into_iter().chain(offset).chain([compare(NOT_EQUAL, vec![0, 0])]).collect()
        }
        Match::Source(which, set) => {
            let (offset, length) = match which {
                Family::V4 => (12, 4),
                Family::V6 => (8, 16),
            };
            let address = payload(NETWORK_HEADER, offset, length, REGISTER_1);
            only(*which).into_iter().chain([address, lookup(set, false)]).collect()
        }
        Match::Destination { kind, negated } => {
            let operator = if *negated { NOT_EQUAL } else { EQUAL };
            vec![destination_type(), compare(operator, kind.number().to_ne_bytes().to_vec())]
        }
        Match::DestinationNotIn(set) => vec![destination_type(), lookup(set, true)],
        Match::OwnSource => vec![source_type(), compare(EQUAL, AddressType::Local.number().to_ne_bytes().to_vec())],
        Match::SourcePort(set) => vec![
            meta(META_L4PROTO, REGISTER_1),
            payload(TRANSPORT_HEADER, 0, 2, REGISTER_1_SECOND_WORD),
            lookup(set, false),
        ],
        // FIN, SYN, RST and ACK; SYN (RFC 9293, section 3.1).
        Match::Opens { negated } => vec![
            meta(META_L4PROTO, REGISTER_1),
            compare(EQUAL, vec![6]),
            payload(TRANSPORT_HEADER, 13, 1, REGISTER_1),
            mask(vec![0x17]),
            compare(if *negated { NOT_EQUAL } else { EQUAL }, vec![0x02]),
        ],
        Match::Answers(family, set) => {
            ends(*family, true).into_iter().chain([lookup(set, false), update(set)]).collect()
        }
    }
}

fn verdict(verdict: &Verdict) -> Option<Object> {
    const GOTO: i32 = -4;
    let immediate = expression("immediate").with(sys::NFTNL_EXPR_IMM_DREG, 0u32);
    Some(match verdict {
        Verdict::Continue | Verdict::Note(..) => return None,
        Verdict::Untrack => expression("notrack"),
        Verdict::Accept => immediate.with(sys::NFTNL_EXPR_IMM_VERDICT, libc::NF_ACCEPT),
        Verdict::Drop => immediate.with(sys::NFTNL_EXPR_IMM_VERDICT, libc::NF_DROP),
        Verdict::Goto(chain) => {
            immediate.with(sys::NFTNL_EXPR_IMM_VERDICT, GOTO).with(sys::NFTNL_EXPR_IMM_CHAIN, chain.as_str())
        }
    })
}

fn name_of(device: Device) -> u32 {
    match device {
        Device::Ingress => META_IIFNAME,
        Device::Egress => META_OIFNAME,
        Device::Member => META_SDIFNAME,
    }
}

fn expression(name: &str) -> Object {
    Object::new(Kind::Expression).with(sys::NFTNL_EXPR_NAME, name)
}

fn meta(key: u32, register: u32) -> Object {
    expression("meta").with(sys::NFTNL_EXPR_META_KEY, key).with(sys::NFTNL_EXPR_META_DREG, register)
}

fn conntrack(key: u32) -> Object {
    expression("ct").with(sys::NFTNL_EXPR_CT_KEY, key).with(sys::NFTNL_EXPR_CT_DREG, REGISTER_1)
}

fn payload(base: u32, offset: u32, length: u32, register: u32) -> Object {
    expression("payload")
        .with(sys::NFTNL_EXPR_PAYLOAD_BASE, base)
        .with(sys::NFTNL_EXPR_PAYLOAD_OFFSET, offset)
        .with(sys::NFTNL_EXPR_PAYLOAD_LEN, length)
        .with(sys::NFTNL_EXPR_PAYLOAD_DREG, register)
}

fn compare(operator: u32, data: Vec<u8>) -> Object {
    expression("cmp")
        .with(sys::NFTNL_EXPR_CMP_SREG, REGISTER_1)
        .with(sys::NFTNL_EXPR_CMP_OP, operator)
        .with(sys::NFTNL_EXPR_CMP_DATA, data)
}

fn mask(mask: Vec<u8>) -> Object {
    let length = u32::try_from(mask.len()).expect("a mask of a few bytes");
    expression("bitwise")
        .with(sys::NFTNL_EXPR_BITWISE_SREG, REGISTER_1)
        .with(sys::NFTNL_EXPR_BITWISE_DREG, REGISTER_1)
        .with(sys::NFTNL_EXPR_BITWISE_LEN, length)
        .with(sys::NFTNL_EXPR_BITWISE_XOR, vec![0; mask.len()])
        .with(sys::NFTNL_EXPR_BITWISE_MASK, mask)
}

fn lookup(set: &str, negated: bool) -> Object {
    const INVERTED: u32 = 1;
    expression("lookup")
        .with(sys::NFTNL_EXPR_LOOKUP_SREG, REGISTER_1)
        .with(sys::NFTNL_EXPR_LOOKUP_SET, set)
        .with(sys::NFTNL_EXPR_LOOKUP_FLAGS, if negated { INVERTED } else { 0 })
}

/// IPv4 or IPv6 only: the table is for both.
fn only(family: Family) -> [Object; 2] {
    let number = match family {
        Family::V4 => libc::NFPROTO_IPV4,
        Family::V6 => libc::NFPROTO_IPV6,
    };
    let number = u8::try_from(number).expect("a protocol family is a byte");
    [meta(META_NFPROTO, REGISTER_1), compare(EQUAL, vec![number])]
}

/// The fragment header's offset field, wherever the header is in the chain.
fn fragment_offset() -> Object {
    const FRAGMENT_HEADER: u8 = 44;
    const IPV6: u32 = 0;
    expression("exthdr")
        .with(sys::NFTNL_EXPR_EXTHDR_DREG, REGISTER_1)
        .with(sys::NFTNL_EXPR_EXTHDR_TYPE, FRAGMENT_HEADER)
        .with(sys::NFTNL_EXPR_EXTHDR_OFFSET, 2u32)
        .with(sys::NFTNL_EXPR_EXTHDR_LEN, 2u32)
        .with(sys::NFTNL_EXPR_EXTHDR_FLAGS, 0u32)
        .with(sys::NFTNL_EXPR_EXTHDR_OP, IPV6)
}

/// `fib daddr type`: asked of the routing tables for each packet, so that no list of addresses can be stale.
fn destination_type() -> Object {
    const RESULT_ADDRESS_TYPE: u32 = 3;
    const FLAG_DESTINATION: u32 = 2;
    expression("fib")
        .with(sys::NFTNL_EXPR_FIB_DREG, REGISTER_1)
        .with(sys::NFTNL_EXPR_FIB_RESULT, RESULT_ADDRESS_TYPE)
        .with(sys::NFTNL_EXPR_FIB_FLAGS, FLAG_DESTINATION)
}

/// The same of the source.
fn source_type() -> Object {
    const RESULT_ADDRESS_TYPE: u32 = 3;
    const FLAG_SOURCE: u32 = 1;
    expression("fib")
        .with(sys::NFTNL_EXPR_FIB_DREG, REGISTER_1)
        .with(sys::NFTNL_EXPR_FIB_RESULT, RESULT_ADDRESS_TYPE)
        .with(sys::NFTNL_EXPR_FIB_FLAGS, FLAG_SOURCE)
}

/// Both ends of the packet's connection, the other side's first: address, port, address, port. `arrives`: its source is
/// the other side. Registers by the names that the kernel gives back (`nft_dump_register`).
fn ends(family: Family, arrives: bool) -> Vec<Object> {
    let (addresses, length, registers) = match family {
        Family::V4 => ([12, 16], 4, [1, 9, 10, 11]),
        Family::V6 => ([8, 24], 16, [1, 2, 13, 17]),
    };
    let (mut addresses, mut ports) = (addresses, [0, 2]);
    if !arrives {
        addresses.reverse();
        ports.reverse();
    }
    let ends = [
        payload(NETWORK_HEADER, addresses[0], length, registers[0]),
        payload(TRANSPORT_HEADER, ports[0], 2, registers[1]),
        payload(NETWORK_HEADER, addresses[1], length, registers[2]),
        payload(TRANSPORT_HEADER, ports[1], 2, registers[3]),
    ];
    only(family).into_iter().chain(ends).collect()
}

/// Adds what the registers hold to a set, or makes it new there.
fn update(set: &str) -> Object {
    expression("dynset")
        .with(sys::NFTNL_EXPR_DYNSET_SREG_KEY, REGISTER_1)
        .with(sys::NFTNL_EXPR_DYNSET_OP, UPDATE)
        .with(sys::NFTNL_EXPR_DYNSET_SET_NAME, set)
}

fn count_in(set: &str) -> Object {
    let counter = expression("counter").with(sys::NFTNL_EXPR_CTR_PACKETS, 0u64).with(sys::NFTNL_EXPR_CTR_BYTES, 0u64);
    update(set).containing([counter])
}
