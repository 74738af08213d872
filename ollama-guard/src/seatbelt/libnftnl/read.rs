//! From a message to [`Object`].

use std::ffi::{c_int, c_void};

use nftnl::nftnl_sys::{self as sys, libc};

use super::structure::{Owned, collect};
use crate::seatbelt::object::{Kind, Object};

/// Reads one message of a dump; `None` if libnftnl cannot (an expression newer than it, a damaged message).
/// A message with set elements reads as [`Kind::Element`]: the set's name, the elements inside.
pub(in crate::seatbelt) fn read(kind: Kind, message: &[u8]) -> Option<Object> {
    let header = whole(message)?;
    let parsed = |result: c_int| (result >= 0).then_some(());
    match kind {
        Kind::Table => {
            let table = Owned::<sys::nftnl_table>::new();
            // SAFETY: `whole` checked the message; the structure is ours.
            parsed(unsafe { sys::nftnl_table_nlmsg_parse(header, table.as_ptr()) })?;
            // SAFETY: live until the end of this block.
            Some(unsafe {
                collect(table.as_ptr(), kind, [sys::NFTNL_TABLE_NAME, sys::NFTNL_TABLE_FLAGS, sys::NFTNL_TABLE_OWNER])
            })
        }
        Kind::Chain => {
            let chain = Owned::<sys::nftnl_chain>::new();
            // SAFETY: as above.
            parsed(unsafe { sys::nftnl_chain_nlmsg_parse(header, chain.as_ptr()) })?;
            // SAFETY: live until the end of this block.
            Some(unsafe {
                collect(
                    chain.as_ptr(),
                    kind,
                    [
                        sys::NFTNL_CHAIN_NAME,
                        sys::NFTNL_CHAIN_TABLE,
                        sys::NFTNL_CHAIN_HOOKNUM,
                        sys::NFTNL_CHAIN_PRIO,
                        sys::NFTNL_CHAIN_POLICY,
                        sys::NFTNL_CHAIN_TYPE,
                    ],
                )
            })
        }
        Kind::Rule => {
            let rule = Owned::<sys::nftnl_rule>::new();
            // SAFETY: as above.
            parsed(unsafe { sys::nftnl_rule_nlmsg_parse(header, rule.as_ptr()) })?;
            // SAFETY: live until the end of this block.
            let object = unsafe {
                collect(rule.as_ptr(), kind, [sys::NFTNL_RULE_TABLE, sys::NFTNL_RULE_CHAIN, sys::NFTNL_RULE_USERDATA])
            };
            let mut inside: Vec<Object> = Vec::new();
            // SAFETY: `each_expression` is called while the rule lives, with `inside` as its data.
            unsafe {
                sys::nftnl_expr_foreach(rule.as_ptr(), Some(each_expression), (&raw mut inside).cast());
            }
            Some(object.containing(inside))
        }
        Kind::Set => {
            let set = Owned::<sys::nftnl_set>::new();
            // SAFETY: as above.
            parsed(unsafe { sys::nftnl_set_nlmsg_parse(header, set.as_ptr()) })?;
            // SAFETY: live until the end of this block.
            Some(unsafe {
                collect(
                    set.as_ptr(),
                    kind,
                    [
                        sys::NFTNL_SET_TABLE,
                        sys::NFTNL_SET_NAME,
                        sys::NFTNL_SET_FLAGS,
                        sys::NFTNL_SET_KEY_TYPE,
                        sys::NFTNL_SET_KEY_LEN,
                        sys::NFTNL_SET_DESC_SIZE,
                        sys::NFTNL_SET_DATA_TYPE,
                        sys::NFTNL_SET_OBJ_TYPE,
                        sys::NFTNL_SET_TIMEOUT,
                    ],
                )
            })
        }
        Kind::Element => {
            let set = Owned::<sys::nftnl_set>::new();
            // SAFETY: as above.
            parsed(unsafe { sys::nftnl_set_elems_nlmsg_parse(header, set.as_ptr()) })?;
            // SAFETY: live until the end of this block.
            let object = unsafe { collect(set.as_ptr(), kind, [sys::NFTNL_SET_TABLE, sys::NFTNL_SET_NAME]) };
            let mut inside: Vec<Object> = Vec::new();
            // SAFETY: `each_element` is called while the set lives, with `inside` as its data.
            unsafe {
                sys::nftnl_set_elem_foreach(set.as_ptr(), Some(each_element), (&raw mut inside).cast());
            }
            Some(object.containing(inside))
        }
        Kind::Counter => {
            let counter = Owned::<sys::nftnl_obj>::new();
            // SAFETY: as above.
            parsed(unsafe { sys::nftnl_obj_nlmsg_parse(header, counter.as_ptr()) })?;
            // SAFETY: live until the end of this block.
            Some(unsafe {
                collect(
                    counter.as_ptr(),
                    kind,
                    [
                        sys::NFTNL_OBJ_TABLE,
                        sys::NFTNL_OBJ_NAME,
                        sys::NFTNL_OBJ_TYPE,
                        sys::NFTNL_OBJ_CTR_PKTS,
                        sys::NFTNL_OBJ_CTR_BYTES,
                    ],
                )
            })
        }
        Kind::Expression => None,
    }
}

/// The message's header, if the message is as long as it says and aligned.
fn whole(message: &[u8]) -> Option<*const libc::nlmsghdr> {
    #[expect(clippy::cast_ptr_alignment, reason = "checked on the next line")]
    let header = message.as_ptr().cast::<libc::nlmsghdr>();
    if message.len() < size_of::<libc::nlmsghdr>() || !header.is_aligned() {
        return None;
    }
    // SAFETY: long enough and aligned; any bytes are a valid header.
    let length = unsafe { (*header).nlmsg_len };
    (length as usize <= message.len()).then_some(header)
}

/// Attributes of expressions are numbered from 1; none has more than this.
const MAX_EXPRESSION_ATTRIBUTE: u32 = 12;

/// # Safety
///
/// `expression` is live.
unsafe fn collect_expression(expression: *mut sys::nftnl_expr) -> Object {
    let is_nested = |attribute: u32, name: Option<&str>| {
        name == Some("dynset")
            && (attribute == sys::NFTNL_EXPR_DYNSET_EXPR || attribute == sys::NFTNL_EXPR_DYNSET_EXPRESSIONS)
    };
    // SAFETY: the caller vouches for `expression`.
    let named = unsafe { collect(expression, Kind::Expression, [sys::NFTNL_EXPR_NAME]) };
    let name = named.text(sys::NFTNL_EXPR_NAME).map(str::to_owned);
    let attributes = (0..=MAX_EXPRESSION_ATTRIBUTE).filter(|a| !is_nested(*a, name.as_deref()));
    // SAFETY: the same.
    let object = unsafe { collect(expression, Kind::Expression, attributes) };
    let mut inside: Vec<Object> = Vec::new();
    if name.as_deref() == Some("dynset") {
        // SAFETY: `each_expression` is called while the expression lives.
        unsafe { sys::nftnl_expr_expr_foreach(expression, Some(each_expression), (&raw mut inside).cast()) };
    }
    object.containing(inside)
}

unsafe extern "C" fn each_expression(expression: *mut sys::nftnl_expr, data: *mut c_void) -> c_int {
    // SAFETY: `data` is the vector that the caller of `foreach` lent for its duration.
    let found = unsafe { &mut *data.cast::<Vec<Object>>() };
    // SAFETY: libnftnl passes a live expression.
    found.push(unsafe { collect_expression(expression) });
    0
}

unsafe extern "C" fn each_element(element: *mut sys::nftnl_set_elem, data: *mut c_void) -> c_int {
    // SAFETY: `data` is the vector that the caller of `foreach` lent for its duration.
    let found = unsafe { &mut *data.cast::<Vec<Object>>() };
    let attributes = [sys::NFTNL_SET_ELEM_KEY, sys::NFTNL_SET_ELEM_FLAGS];
    // SAFETY: libnftnl passes a live element.
    let object = unsafe { collect(element, Kind::Element, attributes) };
    let mut inside: Vec<Object> = Vec::new();
    // SAFETY: `each_expression` is called while the element lives.
    unsafe { sys::nftnl_set_elem_expr_foreach(element, Some(each_expression), (&raw mut inside).cast()) };
    found.push(object.containing(inside));
    0
}
