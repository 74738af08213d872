//! The instruction set, version 3 (`Documentation/bpf/standardization/instruction-set.rst`), as far as compilers emit it.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "as the machine does"
)]

use anyhow::{Result, bail, ensure};
use aya_obj::generated::bpf_insn;

use super::Steps;
use super::helpers::Maps;
use super::memory::{FRAME, Memory};

/// No way through these programs is as long.
const PATIENCE: u32 = 1_000_000;

/// Registers that a function leaves to its caller as they were: r6 to r9, and the frame pointer.
type Kept = [u64; 5];

/// Runs a program on a context.
pub(super) fn run(code: &[bpf_insn], memory: &mut Memory, maps: &mut Maps, context: u64) -> Result<Steps> {
    let (mut r, mut at, mut callers) = ([0_u64; 11], 0_usize, Vec::<(usize, Kept)>::new());
    (r[1], r[10]) = (context, Memory::stack());
    let (mut instructions, mut calls) = (0, 0);
    loop {
        let Some(i) = code.get(at) else { bail!("ran out of the program at {at}") };
        let (to, from) = (usize::from(i.dst_reg()), usize::from(i.src_reg()));
        let immediate = i64::from(i.imm) as u64;
        let operand = if i.code & 0x08 == 0 { immediate } else { r[from] };
        instructions += 1;
        ensure!(instructions < PATIENCE, "it does not end");
        at += 1;
        match i.code {
            0x95 => {
                let Some((back, kept)) = callers.pop() else {
                    return Ok(Steps { answer: r[0] as u32, instructions, calls });
                };
                at = back;
                r[6..].copy_from_slice(&kept);
            }
            0x85 if from == 1 => {
                calls += 1;
                callers.push((at, [r[6], r[7], r[8], r[9], r[10]]));
                r[10] -= FRAME;
                at = jump(at, i.imm.into())?;
            }
            0x85 => {
                calls += 1;
                r[0] = maps.call(i.imm, memory, [r[1], r[2], r[3], r[4], r[5]])?;
            }
            0x18 => {
                let upper = code.get(at).map_or(0, |next| next.imm);
                at += 1;
                r[to] = match from {
                    1 => i.imm as u64,
                    2 => maps.constants(i.imm as u64)? + upper as u64,
                    _ => u64::from(i.imm as u32) | (upper as u64) << 32,
                };
            }
            0x05 => at = jump(at, i.off.into())?,
            code if code & 0x07 == 0x05 || code & 0x07 == 0x06 => {
                let wide = code & 0x07 == 0x05;
                if holds(code >> 4, extend(r[to], wide), extend(operand, wide))? {
                    at = jump(at, i.off.into())?;
                }
            }
            0xd4 | 0xdc => r[to] = swap(r[to], i.imm, i.code == 0xdc)?,
            code if code & 0x07 == 0x07 => r[to] = calculate(code >> 4, r[to], operand)?,
            code if code & 0x07 == 0x04 => r[to] = u64::from(calculate32(code >> 4, r[to] as u32, operand as u32)?),
            code => {
                let length = [4, 2, 1, 8][usize::from(code >> 3 & 3)];
                let offset = i64::from(i.off) as u64;
                match code & 0xe7 {
                    0x61 => r[to] = memory.load(r[from].wrapping_add(offset), length)?,
                    0x62 => memory.store(r[to].wrapping_add(offset), length, immediate)?,
                    0x63 => memory.store(r[to].wrapping_add(offset), length, r[from])?,
                    0xc3 if i.imm == 0 => {
                        let place = r[to].wrapping_add(offset);
                        let sum = memory.load(place, length)?.wrapping_add(r[from]);
                        memory.store(place, length, sum)?;
                    }
                    _ => bail!("instruction {code:#04x} is not known here"),
                }
            }
        }
    }
}

fn jump(at: usize, offset: i64) -> Result<usize> {
    Ok(usize::try_from(i64::try_from(at)? + offset)?)
}

/// Comparisons look at all of a register, or at its lower half.
const fn extend(number: u64, wide: bool) -> (u64, i64) {
    if wide { (number, number as i64) } else { (number as u32 as u64, number as i32 as i64) }
}

fn holds(operation: u8, (a, signed_a): (u64, i64), (b, signed_b): (u64, i64)) -> Result<bool> {
    Ok(match operation {
        0x1 => a == b,
        0x2 => a > b,
        0x3 => a >= b,
        0x4 => a & b != 0,
        0x5 => a != b,
        0x6 => signed_a > signed_b,
        0x7 => signed_a >= signed_b,
        0xa => a < b,
        0xb => a <= b,
        0xc => signed_a < signed_b,
        0xd => signed_a <= signed_b,
        _ => bail!("comparison {operation:#x} is not known here"),
    })
}

macro_rules! calculator {
    ($name:ident, $unsigned:ty, $signed:ty) => {
        fn $name(operation: u8, a: $unsigned, b: $unsigned) -> Result<$unsigned> {
            Ok(match operation {
                0x0 => a.wrapping_add(b),
                0x1 => a.wrapping_sub(b),
                0x2 => a.wrapping_mul(b),
                0x3 => a.checked_div(b).unwrap_or(0),
                0x4 => a | b,
                0x5 => a & b,
                0x6 => a.wrapping_shl(b as u32),
                0x7 => a.wrapping_shr(b as u32),
                0x8 => a.wrapping_neg(),
                0x9 => a.checked_rem(b).unwrap_or(a),
                0xa => a ^ b,
                0xb => b,
                0xc => (a as $signed).wrapping_shr(b as u32) as $unsigned,
                _ => bail!("operation {operation:#x} is not known here"),
            })
        }
    };
}

calculator!(calculate, u64, i64);
calculator!(calculate32, u32, i32);

/// The lower `bits` of a number, their bytes reversed where the machine's order is not the one asked for.
fn swap(number: u64, bits: i32, to_big: bool) -> Result<u64> {
    let swapped = to_big == cfg!(target_endian = "little");
    Ok(match bits {
        16 if swapped => u64::from((number as u16).swap_bytes()),
        16 => u64::from(number as u16),
        32 if swapped => u64::from((number as u32).swap_bytes()),
        32 => u64::from(number as u32),
        64 if swapped => number.swap_bytes(),
        64 => number,
        _ => bail!("no bytes of {bits} bits"),
    })
}
