//! What a program can address: regions, each at the beginning of four gigabytes of its own.

use anyhow::{Context, Result, bail};

use crate::stand::Way;

/// A region's number is in the upper half of an address. The packet's is none: contexts hold its address in 32 bits.
const PACKET: u64 = 0;
const CONTEXT: u64 = 1;
const STACK: u64 = 2;
/// In the packet's region, so that its address is not null.
const START: u32 = 0x1000;
/// Of one function (`MAX_BPF_STACK`, `include/linux/filter.h`).
pub(super) const FRAME: u64 = 512;
/// How deep functions may call each other (`MAX_CALL_FRAMES`).
const FRAMES: u64 = 8;

/// All regions.
#[derive(Debug)]
pub(super) struct Memory(Vec<Vec<u8>>);

impl Default for Memory {
    fn default() -> Self {
        Self(vec![Vec::new(), Vec::new(), vec![0; usize::try_from(FRAME * FRAMES).unwrap_or(0)]])
    }
}

impl Memory {
    /// A new region with these bytes; its address.
    pub(super) fn add(&mut self, bytes: Vec<u8>) -> u64 {
        self.0.push(bytes);
        (self.0.len() as u64 - 1) << 32
    }

    /// Where the first function's stack ends: it grows downwards.
    pub(super) fn stack() -> u64 {
        (STACK << 32) + FRAME * FRAMES
    }

    /// Lays a frame down, and the context that tells of it (`struct xdp_md`, `struct __sk_buff`); the context's address.
    /// The interface has the number 0, as the first seat for counters has when nobody took it.
    pub(super) fn present(&mut self, way: Way, frame: &[u8]) -> u64 {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let (start, end) = (START, START + length);
        let mut words = [0_u32; 48];
        if way == Way::Xdp {
            words[..3].copy_from_slice(&[start, end, start]);
        } else {
            let ethertype = frame.get(12..14).map_or([0, 0], |bytes| [bytes[0], bytes[1]]);
            (words[0], words[4], words[19], words[20]) = (length, u16::from_ne_bytes(ethertype).into(), start, end);
        }
        self.0[usize::try_from(CONTEXT).unwrap_or(0)] = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.0[usize::try_from(PACKET).unwrap_or(0)] = [&vec![0; START as usize], frame].concat();
        CONTEXT << 32
    }

    /// A part of the packet.
    pub(super) fn packet(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.read(u64::from(START) + offset, length).map(<[u8]>::to_vec)
    }

    pub(super) fn read(&self, address: u64, length: u64) -> Result<&[u8]> {
        let (region, from) = split(address);
        let to = usize::try_from(length).ok().and_then(|length| from.checked_add(length));
        let bytes = self.0.get(region).and_then(|region| region.get(from..to?));
        bytes.with_context(|| format!("{length} bytes at {address:#x} are nobody's"))
    }

    pub(super) fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        let (region, from) = split(address);
        let place = self.0.get_mut(region).and_then(|region| region.get_mut(from..from + bytes.len()));
        place.with_context(|| format!("{} bytes at {address:#x} are nobody's", bytes.len()))?.copy_from_slice(bytes);
        Ok(())
    }

    /// A number of 1, 2, 4 or 8 bytes, as the machine has them.
    pub(super) fn load(&self, address: u64, length: u64) -> Result<u64> {
        let mut number = [0; 8];
        let bytes = self.read(address, length)?;
        if cfg!(target_endian = "big") {
            bail!("the walk is for little-endian machines");
        }
        number[..bytes.len()].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(number))
    }

    pub(super) fn store(&mut self, address: u64, length: u64, number: u64) -> Result<()> {
        self.write(address, &number.to_le_bytes()[..usize::try_from(length)?])
    }
}

fn split(address: u64) -> (usize, usize) {
    let half = |half: u64| usize::try_from(half).unwrap_or(usize::MAX);
    (half(address >> 32), half(address & 0xffff_ffff))
}
