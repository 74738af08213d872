//! From [`Object`] to a message.

use std::ffi::c_char;

use nftnl::nftnl_sys::{self as sys, libc};

use super::structure::Owned;
use crate::seatbelt::object::{Kind, Object};

fn expression(object: &Object) -> Owned<sys::nftnl_expr> {
    let name = object.bytes(sys::NFTNL_EXPR_NAME).expect("an expression has a name");
    assert!(name.last() == Some(&0), "an expression's name ends in NUL");
    // SAFETY: a text that ends in NUL.
    let mut expression = Owned::adopt(unsafe { sys::nftnl_expr_alloc(name.as_ptr().cast::<c_char>()) });
    expression.set_all(object, Some(0));
    for inside in &object.inside {
        let inside = self::expression(inside).release();
        // SAFETY: both structures are live; `expression` takes ownership of `inside`.
        unsafe {
            sys::nftnl_expr_add_expr(expression.as_ptr(), sys::NFTNL_EXPR_DYNSET_EXPR, inside);
        }
    }
    expression
}

/// Appends the object's attributes to the message that `header` begins.
///
/// # Safety
///
/// `header` begins a message with room for the object behind it (`nftnl::nft_nlmsg_maxsize`).
pub(in crate::seatbelt) unsafe fn write(object: &Object, header: *mut libc::nlmsghdr) {
    match object.kind {
        Kind::Table => {
            let mut table = Owned::<sys::nftnl_table>::new();
            table.set_all(object, None);
            // SAFETY: the caller vouches for the room.
            unsafe { sys::nftnl_table_nlmsg_build_payload(header, table.as_ptr()) };
        }
        Kind::Chain => {
            let mut chain = Owned::<sys::nftnl_chain>::new();
            chain.set_all(object, None);
            // SAFETY: the caller vouches for the room.
            unsafe { sys::nftnl_chain_nlmsg_build_payload(header, chain.as_ptr()) };
        }
        Kind::Rule => {
            let mut rule = Owned::<sys::nftnl_rule>::new();
            rule.set_all(object, None);
            for inside in &object.inside {
                let inside = expression(inside).release();
                // SAFETY: both are live; the rule takes ownership.
                unsafe { sys::nftnl_rule_add_expr(rule.as_ptr(), inside) };
            }
            // SAFETY: the caller vouches for the room.
            unsafe { sys::nftnl_rule_nlmsg_build_payload(header, rule.as_ptr()) };
        }
        Kind::Set => {
            let set = set(object);
            // SAFETY: the caller vouches for the room.
            unsafe { sys::nftnl_set_nlmsg_build_payload(header, set.as_ptr()) };
        }
        Kind::Element => {
            let set = set(object);
            // SAFETY: the caller vouches for the room.
            unsafe { sys::nftnl_set_elems_nlmsg_build_payload(header, set.as_ptr()) };
        }
        Kind::Counter => {
            let mut counter = Owned::<sys::nftnl_obj>::new();
            counter.set_all(object, None);
            // SAFETY: the caller vouches for the room.
            unsafe { sys::nftnl_obj_nlmsg_build_payload(header, counter.as_ptr()) };
        }
        Kind::Expression => unreachable!("an expression is sent inside a rule"),
    }
}

fn set(object: &Object) -> Owned<sys::nftnl_set> {
    let mut set = Owned::<sys::nftnl_set>::new();
    set.set_all(object, None);
    for inside in &object.inside {
        let mut element = Owned::<sys::nftnl_set_elem>::new();
        element.set_all(inside, None);
        // SAFETY: both are live; the set takes ownership.
        unsafe { sys::nftnl_set_elem_add(set.as_ptr(), element.release()) };
    }
    set
}
