//! Walks a frame through the kernel programs' bytecode, one instruction at a time, and counts them.
//!
//! Times jitter, these counts do not: the same object, the same frame, the same numbers on every machine. What the kernel
//! makes of the object later (it inlines helpers and removes dead branches) is not in them. That the walk ends where the
//! kernel's own run ends is for whoever uses it to check.

mod helpers;
mod machine;
mod memory;

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use aya_obj::generated::bpf_insn;
use aya_obj::{Function, Object};
use ollama_guard::datapath::OBJECT;
use ollama_guard_common::abi::Rules;
use zerocopy::IntoBytes;

use crate::stand::Way;
use helpers::Maps;
use memory::Memory;

/// One frame's way through a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// What the program returned.
    pub answer: u32,
    /// Instructions executed.
    pub instructions: u32,
    /// Calls: of functions of the program, and of the kernel's helpers.
    pub calls: u32,
}

/// A program with its constants, and maps that remember what earlier frames left there.
#[derive(Debug)]
pub struct Walk {
    way: Way,
    code: Vec<bpf_insn>,
    memory: Memory,
    maps: Maps,
}

impl Walk {
    /// Loads the program for this way, with these constants.
    pub fn new(way: Way, rules: &Rules) -> Result<Self> {
        let name = match way {
            Way::Xdp => "guard_xdp_frags",
            Way::Tc => "guard_tc",
            Way::TcLayer3 => "guard_tc_l3",
        };
        Self::of(name, way, rules)
    }

    /// The program on members of bridges, bonds and teams.
    pub fn member(rules: &Rules) -> Result<Self> {
        Self::of("guard_tc_member", Way::Tc, rules)
    }

    fn of(name: &str, way: Way, rules: &Rules) -> Result<Self> {
        let mut object = Object::parse(OBJECT)?;
        object.patch_map_data(HashMap::from([("RULES", (rules.as_bytes(), true))]))?;
        let described: BTreeMap<String, aya_obj::Map> =
            object.maps.iter().map(|(name, map)| (name.clone(), map.clone())).collect();
        let numbered = (0..).zip(&described).map(|(number, (name, map))| (name.as_str(), number, map));
        let sections = object.functions.keys().map(|(section, _)| *section).collect();
        object.relocate_maps(numbered, &sections)?;
        object.relocate_calls(&sections)?;
        let mut memory = Memory::default();
        let maps = Maps::new(described.values(), &mut memory);
        Ok(Self { way, code: program(&object, name)?.instructions.clone(), memory, maps })
    }

    /// How many instructions it has.
    pub fn size(&self) -> usize {
        self.code.len()
    }

    /// Sends a frame through it.
    pub fn frame(&mut self, frame: &[u8]) -> Result<Steps> {
        let context = self.memory.present(self.way, frame);
        machine::run(&self.code, &mut self.memory, &mut self.maps, context)
    }
}

fn program<'a>(object: &'a Object, name: &str) -> Result<&'a Function> {
    let program = object.programs.get(name).with_context(|| format!("the object has no program {name}"))?;
    object.functions.get(&program.function_key()).with_context(|| format!("{name} has no code"))
}
