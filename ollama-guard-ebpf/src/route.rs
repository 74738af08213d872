//! "Is it for this host?", asked of the kernel's routing table.

use core::ffi::c_void;

use aya_ebpf::bindings::bpf_fib_lookup;
use aya_ebpf::helpers::bpf_fib_lookup as fib_lookup;
use ollama_guard_common::Address;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `BPF_FIB_LKUP_RET_*`, `include/uapi/linux/bpf.h`: the results that mean "routed onward", and those that mean "not".
const SUCCESS: i64 = 0;
const NOT_FORWARDED: i64 = 4;
const FORWARDING_DISABLED: i64 = 5;
const NO_NEIGHBOUR: i64 = 7;
const FRAGMENTATION_NEEDED: i64 = 8;

/// What a route look-up needs of a packet's context.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    /// The program's context.
    pub(crate) context: *mut c_void,
    /// Index of the interface the packet arrived on.
    pub(crate) interface: u32,
}

impl Route {
    /// Everything but a clear "onward" is for this host: fail closed. `back`: only out of the interface it came in on is
    /// onward. (Before 5.11 the kernel does not name the interface where it knows no neighbor, and any counts as this one:
    /// commit d1c362e1dd68.)
    #[inline(always)]
    pub(crate) fn is_for_this_host(self, source: &Address, destination: &Address, back: bool) -> bool {
        let (result, egress) = self.look_up(source, destination);
        !matches!(result, SUCCESS | NO_NEIGHBOUR | FRAGMENTATION_NEEDED) || back && egress != self.interface
    }

    /// A clear "not onward".
    #[inline(always)]
    pub(crate) fn is_surely_for_this_host(self, source: &Address, destination: &Address) -> bool {
        matches!(self.look_up(source, destination).0, NOT_FORWARDED | FORWARDING_DISABLED)
    }

    /// The kernel's answer, and the interface it names.
    #[inline(always)]
    fn look_up(self, source: &Address, destination: &Address) -> (i64, u32) {
        let answer = self.ask(source, destination);
        (i64::from(answer as u32), (answer >> 32) as u32)
    }

    /// Both in one number. A function of its own, with its own stack: few ask.
    #[inline(never)]
    fn ask(self, source: &Address, destination: &Address) -> u64 {
        // SAFETY: a plain C structure, for which all zeroes is a value.
        let mut query: bpf_fib_lookup = unsafe { core::mem::zeroed() };
        query.ifindex = self.interface;
        if source.family == 4 {
            query.family = AF_INET;
            query.__bindgen_anon_3.ipv4_src = source.words[3];
            query.__bindgen_anon_4.ipv4_dst = destination.words[3];
        } else {
            query.family = AF_INET6;
            query.__bindgen_anon_3.ipv6_src = source.words;
            query.__bindgen_anon_4.ipv6_dst = destination.words;
        }
        // SAFETY: the kernel reads and writes within the structure, whose size it is told.
        let result = unsafe {
            fib_lookup(self.context, core::ptr::addr_of_mut!(query).cast(), size_of::<bpf_fib_lookup>() as i32, 0)
        };
        (result.cast_unsigned() & 0xffff_ffff) | u64::from(query.ifindex) << 32
    }
}
