//! Bounds that the compiler knows and old verifiers do not.

use core::arch::asm;

/// The same number, about which the compiler has forgotten everything: a mask or a comparison that follows stays in
/// the program, where the verifier sees it. Verifiers before 6.9 lose the bounds of what an "or" put together from
/// bytes, and those of an enum that went through a function.
#[inline(always)]
pub(crate) fn opaque(number: usize) -> usize {
    let mut number = number as u64;
    // SAFETY: moves a register to itself. (Without any instruction the line information would name one twice, which
    // the kernel refuses.)
    unsafe { asm!("{number} = {number}", number = inout(reg) number, options(pure, nomem, nostack)) };
    number as usize
}
