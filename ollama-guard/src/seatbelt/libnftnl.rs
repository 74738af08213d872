//! libnftnl: the only `unsafe` of the seatbelt, and all of it about one thing, copying [`Object`]s into libnftnl's
//! structures and out of them. The crate `nftnl` has no fib, range, inverted look-up, interval set, named counter, set
//! flag, rule dump or counter read-back; libnftnl, which it binds, has them all behind one shape: allocate, set and get
//! attributes by number, free.
//!
//! Structures live only inside [`write`] and [`read`]; no pointer leaves this file.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::NonNull;

use nftnl::nftnl_sys::{self as sys, libc};

use super::object::{Kind, Object};

/// A structure of libnftnl, owned.
struct Owned<T: Structure>(NonNull<T>);

/// The common shape of libnftnl's structures.
///
/// # Safety
///
/// `alloc` returns null or a structure that `free` accepts, `set` copies `length` bytes of an attribute of the right
/// length, and `get` returns null or a pointer to as many bytes as it stores in `length` (to a text that ends in NUL for
/// `TEXTS`), valid until the structure changes. libnftnl's functions of these names promise that (`include/libnftnl/*.h`, `src/*.c`).
unsafe trait Structure {
    /// Attributes that are texts: `get` returns them with their NUL, but with a wrong length (`NFTNL_CHAIN_TYPE`) or none
    /// (`NFTNL_OBJ_NAME`; libnftnl 1.2.4).
    const TEXTS: &'static [u32];
    unsafe fn alloc() -> *mut Self;
    unsafe fn free(this: *mut Self);
    unsafe fn is_set(this: *mut Self, attribute: u16) -> bool;
    unsafe fn set(this: *mut Self, attribute: u16, data: *const c_void, length: u32);
    unsafe fn get(this: *mut Self, attribute: u16, length: *mut u32) -> *const c_void;
}

macro_rules! structure {
    ($type:ident, $alloc:ident, $free:ident, $is_set:ident, $set:ident, $get:ident, [$($text:ident),*]) => {
        // SAFETY: the functions are libnftnl's own for this structure.
        unsafe impl Structure for sys::$type {
            const TEXTS: &'static [u32] = &[$(sys::$text),*];
            unsafe fn alloc() -> *mut Self {
                // SAFETY: takes nothing.
                unsafe { $alloc() }
            }
            unsafe fn free(this: *mut Self) {
                // SAFETY: the caller owns `this`.
                unsafe { sys::$free(this) }
            }
            unsafe fn is_set(this: *mut Self, attribute: u16) -> bool {
                // SAFETY: the caller vouches for `this`.
                unsafe { sys::$is_set(this, attribute) }
            }
            unsafe fn set(this: *mut Self, attribute: u16, data: *const c_void, length: u32) {
                // SAFETY: the caller vouches for `this` and for `length` bytes at `data`.
                unsafe { sys::$set(this, attribute, data, length) };
            }
            unsafe fn get(this: *mut Self, attribute: u16, length: *mut u32) -> *const c_void {
                // SAFETY: the caller vouches for `this` and `length`.
                unsafe { sys::$get(this, attribute, length) }
            }
        }
    };
}

use sys::{
    nftnl_chain_alloc, nftnl_obj_alloc, nftnl_rule_alloc, nftnl_set_alloc, nftnl_set_elem_alloc, nftnl_table_alloc,
};

/// An expression is allocated by its name, in [`expression`].
unsafe fn nftnl_expr_unnamed() -> *mut sys::nftnl_expr {
    std::ptr::null_mut()
}

structure!(
    nftnl_table,
    nftnl_table_alloc,
    nftnl_table_free,
    nftnl_table_is_set,
    nftnl_table_set_data,
    nftnl_table_get_data,
    [NFTNL_TABLE_NAME]
);
structure!(
    nftnl_chain,
    nftnl_chain_alloc,
    nftnl_chain_free,
    nftnl_chain_is_set,
    nftnl_chain_set_data,
    nftnl_chain_get_data,
    [NFTNL_CHAIN_NAME, NFTNL_CHAIN_TABLE, NFTNL_CHAIN_TYPE]
);
structure!(
    nftnl_rule,
    nftnl_rule_alloc,
    nftnl_rule_free,
    nftnl_rule_is_set,
    nftnl_rule_set_data,
    nftnl_rule_get_data,
    [NFTNL_RULE_TABLE, NFTNL_RULE_CHAIN]
);
structure!(
    nftnl_set,
    nftnl_set_alloc,
    nftnl_set_free,
    nftnl_set_is_set,
    nftnl_set_set_data,
    nftnl_set_get_data,
    [NFTNL_SET_TABLE, NFTNL_SET_NAME]
);
structure!(
    nftnl_set_elem,
    nftnl_set_elem_alloc,
    nftnl_set_elem_free,
    nftnl_set_elem_is_set,
    nftnl_set_elem_set,
    nftnl_set_elem_get,
    []
);
structure!(
    nftnl_obj,
    nftnl_obj_alloc,
    nftnl_obj_free,
    nftnl_obj_is_set,
    nftnl_obj_set_data,
    nftnl_obj_get_data,
    [NFTNL_OBJ_TABLE, NFTNL_OBJ_NAME]
);
structure!(
    nftnl_expr,
    nftnl_expr_unnamed,
    nftnl_expr_free,
    nftnl_expr_is_set,
    nftnl_expr_set,
    nftnl_expr_get,
    [NFTNL_EXPR_NAME]
);

impl<T: Structure> Owned<T> {
    fn new() -> Self {
        // SAFETY: no precondition.
        Self::adopt(unsafe { T::alloc() })
    }

    fn adopt(pointer: *mut T) -> Self {
        // Out of memory for a few dozen bytes: what the standard library does.
        Self(NonNull::new(pointer).unwrap_or_else(|| std::process::abort()))
    }

    /// Gives the structure away.
    fn release(self) -> *mut T {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }

    fn set_all(&mut self, object: &Object, skip: Option<u16>) {
        for (attribute, value) in object.attributes.iter().filter(|(attribute, _)| Some(**attribute) != skip) {
            // Some setters read a u32 or u64 through the pointer.
            let mut aligned = vec![0u64; value.len().div_ceil(8).max(1)];
            let length = u32::try_from(value.len()).expect("attributes are short");
            // SAFETY: `aligned` has room for `value.len()` bytes and overlaps nothing.
            unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), aligned.as_mut_ptr().cast::<u8>(), value.len()) };
            // SAFETY: the structure is ours, `length` bytes are there; `encode` gives texts their NUL.
            unsafe { T::set(self.0.as_ptr(), *attribute, aligned.as_ptr().cast(), length) };
        }
    }
}

impl<T: Structure> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: allocated by `T::alloc`, owned by nobody else.
        unsafe { T::free(self.0.as_ptr()) };
    }
}

/// Copies the attributes that are set, of those asked for.
///
/// # Safety
///
/// `structure` points to a live structure.
unsafe fn collect<T: Structure>(structure: *mut T, kind: Kind, attributes: impl IntoIterator<Item = u32>) -> Object {
    let mut object = Object::new(kind);
    for attribute in attributes {
        let mut length = 0u32;
        let number = u16::try_from(attribute).expect("libnftnl numbers attributes in 16 bits");
        // SAFETY: the caller vouches for the structure.
        let set = unsafe { T::is_set(structure, number) };
        // SAFETY: the same; `length` is ours.
        let data = if set { unsafe { T::get(structure, number, &raw mut length) } } else { std::ptr::null() };
        if data.is_null() {
            continue;
        }
        if T::TEXTS.contains(&attribute) {
            // SAFETY: `TEXTS` end in NUL, and nothing changes the structure meanwhile.
            let text = unsafe { CStr::from_ptr(data.cast()) };
            object = object.with(attribute, text.to_bytes_with_nul().to_vec());
        } else {
            // SAFETY: `get` says that `length` bytes are there; nothing changes the structure meanwhile.
            let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length as usize) };
            object = object.with(attribute, bytes.to_vec());
        }
    }
    object
}

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
            sys::nftnl_expr_add_expr(expression.0.as_ptr(), sys::NFTNL_EXPR_DYNSET_EXPR, inside);
        }
    }
    expression
}

/// Appends the object's attributes to the message that `header` begins.
///
/// # Safety
///
/// `header` begins a message with room for the object behind it (`nftnl::nft_nlmsg_maxsize`).
pub(super) unsafe fn write(object: &Object, header: *mut libc::nlmsghdr) {
    match object.kind {
        Kind::Table => {
            let mut table = Owned::<sys::nftnl_table>::new();
            table.set_all(object, None);
            // SAFETY: the caller vouches for the room.
            unsafe { sys::nftnl_table_nlmsg_build_payload(header, table.0.as_ptr()) };
        }
        Kind::Chain => {
            let mut chain = Owned::<sys::nftnl_chain>::new();
            chain.set_all(object, None);
            // SAFETY: the caller vouches for the room.
            unsafe { sys::nftnl_chain_nlmsg_build_payload(header, chain.0.as_ptr()) };
        }
        Kind::Rule => {
            let mut rule = Owned::<sys::nftnl_rule>::new();
            rule.set_all(object, None);
            for inside in &object.inside {
                let inside = expression(inside).release();
                // SAFETY: both are live; the rule takes ownership.
                unsafe { sys::nftnl_rule_add_expr(rule.0.as_ptr(), inside) };
            }
            // SAFETY: the caller vouches for the room.
            unsafe { sys::nftnl_rule_nlmsg_build_payload(header, rule.0.as_ptr()) };
        }
        Kind::Set => {
            let set = set(object);
            // SAFETY: the caller vouches for the room.
            unsafe { sys::nftnl_set_nlmsg_build_payload(header, set.0.as_ptr()) };
        }
        Kind::Element => {
            let set = set(object);
            // SAFETY: the caller vouches for the room.
            unsafe { sys::nftnl_set_elems_nlmsg_build_payload(header, set.0.as_ptr()) };
        }
        Kind::Counter => {
            let mut counter = Owned::<sys::nftnl_obj>::new();
            counter.set_all(object, None);
            // SAFETY: the caller vouches for the room.
            unsafe { sys::nftnl_obj_nlmsg_build_payload(header, counter.0.as_ptr()) };
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
        unsafe { sys::nftnl_set_elem_add(set.0.as_ptr(), element.release()) };
    }
    set
}

/// Reads one message of a dump; `None` if libnftnl cannot (an expression newer than it, a damaged message).
/// A message with set elements reads as [`Kind::Element`]: the set's name, the elements inside.
pub(super) fn read(kind: Kind, message: &[u8]) -> Option<Object> {
    let header = whole(message)?;
    let parsed = |result: c_int| (result >= 0).then_some(());
    match kind {
        Kind::Table => {
            let table = Owned::<sys::nftnl_table>::new();
            // SAFETY: `whole` checked the message; the structure is ours.
            parsed(unsafe { sys::nftnl_table_nlmsg_parse(header, table.0.as_ptr()) })?;
            // SAFETY: live until the end of this block.
            Some(unsafe {
                collect(table.0.as_ptr(), kind, [sys::NFTNL_TABLE_NAME, sys::NFTNL_TABLE_FLAGS, sys::NFTNL_TABLE_OWNER])
            })
        }
        Kind::Chain => {
            let chain = Owned::<sys::nftnl_chain>::new();
            // SAFETY: as above.
            parsed(unsafe { sys::nftnl_chain_nlmsg_parse(header, chain.0.as_ptr()) })?;
            // SAFETY: live until the end of this block.
            Some(unsafe {
                collect(
                    chain.0.as_ptr(),
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
            parsed(unsafe { sys::nftnl_rule_nlmsg_parse(header, rule.0.as_ptr()) })?;
            // SAFETY: live until the end of this block.
            let object = unsafe {
                collect(rule.0.as_ptr(), kind, [sys::NFTNL_RULE_TABLE, sys::NFTNL_RULE_CHAIN, sys::NFTNL_RULE_USERDATA])
            };
            let mut inside: Vec<Object> = Vec::new();
            // SAFETY: `each_expression` is called while the rule lives, with `inside` as its data.
            unsafe {
                sys::nftnl_expr_foreach(rule.0.as_ptr(), Some(each_expression), (&raw mut inside).cast());
            }
            Some(object.containing(inside))
        }
        Kind::Set => {
            let set = Owned::<sys::nftnl_set>::new();
            // SAFETY: as above.
            parsed(unsafe { sys::nftnl_set_nlmsg_parse(header, set.0.as_ptr()) })?;
            // SAFETY: live until the end of this block.
            Some(unsafe {
                collect(
                    set.0.as_ptr(),
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
            parsed(unsafe { sys::nftnl_set_elems_nlmsg_parse(header, set.0.as_ptr()) })?;
            // SAFETY: live until the end of this block.
            let object = unsafe { collect(set.0.as_ptr(), kind, [sys::NFTNL_SET_TABLE, sys::NFTNL_SET_NAME]) };
            let mut inside: Vec<Object> = Vec::new();
            // SAFETY: `each_element` is called while the set lives, with `inside` as its data.
            unsafe {
                sys::nftnl_set_elem_foreach(set.0.as_ptr(), Some(each_element), (&raw mut inside).cast());
            }
            Some(object.containing(inside))
        }
        Kind::Counter => {
            let counter = Owned::<sys::nftnl_obj>::new();
            // SAFETY: as above.
            parsed(unsafe { sys::nftnl_obj_nlmsg_parse(header, counter.0.as_ptr()) })?;
            // SAFETY: live until the end of this block.
            Some(unsafe {
                collect(
                    counter.0.as_ptr(),
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
    let attributes = [u32::from(sys::NFTNL_SET_ELEM_KEY), u32::from(sys::NFTNL_SET_ELEM_FLAGS)];
    // SAFETY: libnftnl passes a live element.
    let object = unsafe { collect(element, Kind::Element, attributes) };
    let mut inside: Vec<Object> = Vec::new();
    // SAFETY: `each_expression` is called while the element lives.
    unsafe { sys::nftnl_set_elem_expr_foreach(element, Some(each_expression), (&raw mut inside).cast()) };
    found.push(object.containing(inside));
    0
}

/// A message to nf_tables: a command (`NFT_MSG_*`), its flags (`NLM_F_*`), and the object it is about.
pub(super) struct Message {
    pub(super) command: u16,
    pub(super) flags: u16,
    pub(super) object: Object,
}

impl Message {
    /// The message as bytes, to be sent alone.
    pub(super) fn bytes(&self, sequence: u32) -> Vec<u8> {
        // Words, so that the header is aligned.
        let mut buffer = vec![0u32; (nftnl::nft_nlmsg_maxsize() / 4) as usize];
        // SAFETY: the buffer is as long as `write` asks.
        unsafe { nftnl::NlMsg::write(self, buffer.as_mut_ptr().cast(), sequence, nftnl::MsgType::Add) };
        let length = buffer[0] as usize; // nlmsg_len
        buffer.iter().flat_map(|word| word.to_ne_bytes()).take(length).collect()
    }
}

// SAFETY: writes one whole message, at most `nft_nlmsg_maxsize` long: `encode` keeps lists of elements short.
unsafe impl nftnl::NlMsg for Message {
    unsafe fn write(&self, buffer: *mut c_void, sequence: u32, _: nftnl::MsgType) {
        let family = u16::try_from(libc::NFPROTO_INET).expect("a protocol family is a byte");
        // SAFETY: the caller vouches for the buffer.
        let header =
            unsafe { sys::nftnl_nlmsg_build_hdr(buffer.cast::<c_char>(), self.command, family, self.flags, sequence) };
        // SAFETY: the header was written just now, the rest of the buffer is free.
        unsafe { write(&self.object, header) };
    }
}
