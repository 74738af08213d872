//! Compiles the kernel programs into `$OUT_DIR/ollama-guard.bpf.o`, which the program embeds.

#[path = "../xtask/src/kernel.rs"]
mod kernel;
#[allow(dead_code, reason = "cargo xtask uses the rest")]
#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

use kernel::KernelBuild;
use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};
use toolchain::Toolchain;

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One directive a line.
            for line in error.to_string().lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = package.parent().ok_or("ollama-guard lies in no workspace")?;
    rerun_on_change(workspace);

    let out = PathBuf::from(variable("OUT_DIR")?);
    let toolchain = Toolchain::find().map_err(|missing| format!("{missing}\n`cargo xtask setup` installs it"))?;
    let build = KernelBuild {
        workspace,
        target_dir: &out.join("bpf"),
        arch: &variable("CARGO_CFG_TARGET_ARCH")?,
        endian: &variable("CARGO_CFG_TARGET_ENDIAN")?,
        flags: &[],
    };
    // Cargo shows this script's output when it fails, so the compiler's messages reach the person.
    let features: &[&str] = if cfg!(feature = "debug-log") { &["--features=debug-log"] } else { &[] };
    let status = build.command(&toolchain, "build")?.args(features).status()?;
    if !status.success() {
        return Err(format!(
            "the kernel programs did not compile (rustc {} at {}, {}): see the messages below",
            toolchain.rustc.release,
            toolchain.rustc.path.display(),
            toolchain.linker.display(),
        )
        .into());
    }
    let object = build.object();
    fs::copy(&object, out.join("ollama-guard.bpf.o"))
        .map_err(|error| format!("cannot copy {}: {error}", object.display()))?;
    Ok(())
}

/// Everything the object is made of, and nothing else.
fn rerun_on_change(workspace: &Path) {
    let inputs = ["Cargo.toml", "Cargo.lock", "xtask/src/kernel.rs", "xtask/src/toolchain.rs"];
    let crates = ["ollama-guard-ebpf", "ollama-guard-common"];
    let sources = crates.iter().flat_map(|name| [format!("{name}/src"), format!("{name}/Cargo.toml")]);
    for input in sources.chain(inputs.map(String::from)) {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: run this through cargo"))
}
