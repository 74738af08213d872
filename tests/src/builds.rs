//! Other builds of the program, for upgrades.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::guard::binary;
use crate::leftovers;

/// Two files to build into: a program that runs cannot be written to.
#[derive(Debug)]
pub struct Builds {
    folder: TempDir,
    /// Where in the program a byte of its kernel object's ELF header is that means nothing (the last of `e_ident`).
    padding: u64,
}

impl Builds {
    /// Copies the program under test.
    pub fn new() -> Result<Self> {
        let program = fs::read(binary())?;
        // Begins as every ELF file of 64 bits; e_machine says BPF. It is aligned.
        let is_object = |head: &[u8]| head.starts_with(b"\x7fELF\x02\x01\x01") && head[18..20] == [247, 0];
        let at = (0..program.len().saturating_sub(64)).step_by(8).find(|&at| is_object(&program[at..]));
        let builds =
            Self { folder: leftovers::folder()?, padding: at.context("no kernel object in the program")? as u64 + 15 };
        for nth in 0..2 {
            fs::copy(binary(), builds.file(nth))?;
        }
        Ok(builds)
    }

    /// A build whose kernel object is another one than in the builds before, so that all programs have to be replaced.
    pub fn build(&self, nth: usize) -> Result<PathBuf> {
        let mut file = File::options().write(true).open(self.file(nth))?;
        file.seek(SeekFrom::Start(self.padding))?;
        file.write_all(&[u8::try_from(nth % 255)? + 1])?;
        Ok(self.file(nth))
    }

    fn file(&self, nth: usize) -> PathBuf {
        self.folder.path().join(format!("build-{}", nth % 2))
    }
}
