//! The common shape of libnftnl's structures.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;

use crate::seatbelt::object::{Kind, Object};

/// A structure of libnftnl, owned.
pub(super) struct Owned<T: Structure>(NonNull<T>);

/// The common shape of libnftnl's structures.
///
/// # Safety
///
/// `alloc` returns null or a structure that `free` accepts, `set` copies `length` bytes of an attribute of the right
/// length, and `get` returns null or a pointer to as many bytes as it stores in `length` (to a text that ends in NUL for
/// `TEXTS`), valid until the structure changes. libnftnl's functions of these names promise that (`include/libnftnl/*.h`, `src/*.c`).
pub(super) unsafe trait Structure {
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

/// An expression is allocated by its name, in `write`.
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
    pub(super) fn new() -> Self {
        // SAFETY: no precondition.
        Self::adopt(unsafe { T::alloc() })
    }

    pub(super) fn adopt(pointer: *mut T) -> Self {
        // Out of memory for a few dozen bytes: what the standard library does.
        Self(NonNull::new(pointer).unwrap_or_else(|| std::process::abort()))
    }

    /// The structure, still ours.
    pub(super) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }

    /// Gives the structure away.
    pub(super) fn release(self) -> *mut T {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }

    pub(super) fn set_all(&mut self, object: &Object, skip: Option<u16>) {
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
pub(super) unsafe fn collect<T: Structure>(
    structure: *mut T,
    kind: Kind,
    attributes: impl IntoIterator<Item = u32>,
) -> Object {
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
