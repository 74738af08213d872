//! libnftnl: the only `unsafe` of the seatbelt, and all of it about one thing, copying [`Object`]s into libnftnl's
//! structures and out of them. The crate `nftnl` has no fib, range, inverted look-up, interval set, named counter, set
//! flag, rule dump or counter read-back; libnftnl, which it binds, has them all behind one shape: allocate, set and get
//! attributes by number, free.
//!
//! Structures live only inside [`mod@write`] and [`mod@read`]; no pointer leaves this module.

mod read;
mod structure;
mod write;

use std::ffi::{c_char, c_void};

use nftnl::nftnl_sys::{self as sys, libc};

pub(super) use self::read::read;
use self::write::write;
use super::object::Object;

/// A message to `nf_tables`: a command (`NFT_MSG_*`), its flags (`NLM_F_*`), and the object it is about.
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
