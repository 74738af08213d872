//! `cargo xtask bench`: sets up, builds what is shipped, and measures it beside its peers as root.

use crate::{
    bpffs, compile, setup,
    sh::{self, cargo},
    test,
};
use anyhow::Result;
use std::ffi::OsString;

/// Prints the tables; `arguments` name the ones wanted.
pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    let binary = compile::compile(true)?;
    setup::test_needs();
    let bpffs = bpffs::mount()?;
    let mut cargo = cargo("bench");
    cargo.args(["--locked", "--package=tests", "--bench=cost", "--"]).args(arguments);
    cargo.env("OLLAMA_GUARD_BIN", &binary);
    let outcome = test::as_root(&mut cargo).and_then(|()| sh::run(&mut cargo));
    bpffs.unmount();
    outcome
}
