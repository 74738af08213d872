//! The kernel's helpers, as far as these programs call them, and the maps behind some of them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::memory::Memory;

/// Map types, `enum bpf_map_type`.
const ARRAY: u32 = 2;
const PERCPU_ARRAY: u32 = 6;
const EVENT: usize = 4096;

/// Ethernet, in front of the network header that a helper counts from.
const ETHERNET: u64 = 14;
/// A number that no time stamp or tick of the programs has at first.
const NOW: u64 = 1 << 40;

#[derive(Debug)]
struct Map {
    kind: u32,
    key: u64,
    value: usize,
    entries: BTreeMap<Vec<u8>, u64>,
    /// Where the only value of a map made of a section of constants lies.
    constants: u64,
}

/// All maps, by the number that the code has for them.
#[derive(Debug)]
pub(super) struct Maps {
    maps: Vec<Map>,
    /// Where the next event is written.
    event: u64,
}

impl Maps {
    pub(super) fn new<'a>(described: impl Iterator<Item = &'a aya_obj::Map>, memory: &mut Memory) -> Self {
        let map = |memory: &mut Memory, map: &aya_obj::Map| Map {
            kind: map.map_type(),
            key: map.key_size().into(),
            value: map.value_size() as usize,
            entries: BTreeMap::new(),
            constants: memory.add(map.data().to_vec()),
        };
        Self { maps: described.map(|one| map(memory, one)).collect(), event: memory.add(vec![0; EVENT]) }
    }

    /// Where a map's constants begin.
    pub(super) fn constants(&self, number: u64) -> Result<u64> {
        Ok(self.get(number)?.constants)
    }

    fn get(&self, number: u64) -> Result<&Map> {
        self.maps.get(usize::try_from(number)?).context("no such map")
    }

    /// Calls the helper of this number (`__BPF_FUNC_MAPPER`, `include/uapi/linux/bpf.h`); what it returns.
    pub(super) fn call(&mut self, helper: i32, memory: &mut Memory, [a, b, c, d, e]: [u64; 5]) -> Result<u64> {
        Ok(match helper {
            1 => self.lookup(memory, a, b)?,
            2 => {
                let map = self.get(a)?;
                let (key, value) = (memory.read(b, map.key)?.to_vec(), memory.read(c, map.value as u64)?.to_vec());
                let value = memory.add(value);
                self.maps[usize::try_from(a)?].entries.insert(key, value);
                0
            }
            118 | 125 => NOW,
            8 | 39 | 69 | 132 => 0, // the processor, pulled, routed onward, submitted
            26 => copy(memory, b, c, d),
            68 if e == 1 => copy(memory, b + ETHERNET, c, d),
            131 => self.event,
            other => bail!("helper {other} is not known here"),
        })
    }

    fn lookup(&mut self, memory: &mut Memory, number: u64, key: u64) -> Result<u64> {
        let map = self.get(number)?;
        let key = memory.read(key, map.key)?.to_vec();
        if let Some(&value) = map.entries.get(&key) {
            return Ok(value);
        }
        if ![ARRAY, PERCPU_ARRAY].contains(&map.kind) {
            return Ok(0);
        }
        let value = memory.add(vec![0; map.value]);
        self.maps[usize::try_from(number)?].entries.insert(key, value);
        Ok(value)
    }
}

/// Copies of the packet what there is, or says that it is not there.
fn copy(memory: &mut Memory, offset: u64, to: u64, length: u64) -> u64 {
    let copied = memory.packet(offset, length).and_then(|bytes| memory.write(to, &bytes));
    if copied.is_ok() { 0 } else { u64::MAX }
}
