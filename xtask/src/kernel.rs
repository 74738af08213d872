//! The cargo command that builds the kernel programs for the BPF target.
//!
//! Shared by `cargo xtask lint` and `ollama-guard/build.rs`: standard library only.

use crate::toolchain::Toolchain;
use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

/// The instruction set: 32-bit arithmetic and jumps, which the verifier tracks best. Every kernel since 5.1 takes it;
/// v4 would need 6.6. (Atomic operations that return the old value are v3 too, but need 5.12: do not use them.)
const CPU: &str = "v3";

/// One build of the kernel programs.
pub(crate) struct KernelBuild<'a> {
    /// The workspace's root.
    pub(crate) workspace: &'a Path,
    /// Where cargo may write; never the folder of the build that runs us, whose lock is held.
    pub(crate) target_dir: &'a Path,
    /// The architecture the programs will run on, as in `x86_64`: some context layouts differ.
    pub(crate) arch: &'a str,
    /// The byte order they will run under: `little` or `big`.
    pub(crate) endian: &'a str,
    /// Further compiler flags.
    pub(crate) flags: &'a [&'a str],
}

impl KernelBuild<'_> {
    /// Where the finished object lies.
    pub(crate) fn object(&self) -> PathBuf {
        self.target_dir.join(self.target()).join("release/ollama-guard-ebpf")
    }

    /// `cargo <subcommand>` on the kernel programs, to be run by the caller.
    pub(crate) fn command(&self, toolchain: &Toolchain, subcommand: &str) -> io::Result<Command> {
        let cfg = format!("--cfg=bpf_target_arch=\"{}\"", self.arch);
        let linker = format!("-Clinker={}", toolchain.linker.display());
        let cpu = format!("-Ctarget-cpu={CPU}"); // rustc hands it to bpf-linker, where the code is generated
        let fixed = [cfg.as_str(), &linker, &cpu, "-Clink-arg=--btf", "-Cdebuginfo=2"];
        let flags: Vec<&str> = fixed.into_iter().chain(self.flags.iter().copied()).collect();

        let mut cargo = Command::new(&toolchain.cargo);
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(leaks)) {
            cargo.env_remove(name);
        }
        cargo
            .current_dir(self.workspace)
            .args([subcommand, "--release", "--package=ollama-guard-ebpf", "--bins", "-Zbuild-std=core"])
            .args(["--target", self.target(), "--target-dir"])
            .arg(self.target_dir)
            .env("RUSTC", &toolchain.rustc.path)
            .env("RUSTC_WRAPPER", "") // empty switches off one from a configuration file
            .env("RUSTC_BOOTSTRAP", "1") // -Zbuild-std on a stable compiler
            .env("LD_LIBRARY_PATH", self.llvm_dir(&toolchain.rustc.llvm)?)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            // The host's release profile is about the host: here bpf-linker optimises the whole program, and needs
            // the debug information, from which it makes the BTF.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_STRIP", "none")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
        Ok(cargo)
    }

    fn target(&self) -> &'static str {
        if self.endian == "big" { "bpfeb-unknown-none" } else { "bpfel-unknown-none" }
    }

    /// A folder with nothing but the compiler's LLVM: bpf-linker loads the first one it meets in `LD_LIBRARY_PATH`,
    /// and a system's library folder may hold several.
    fn llvm_dir(&self, llvm: &Path) -> io::Result<PathBuf> {
        let dir = self.target_dir.join("llvm");
        let link = dir.join("libLLVM.so");
        fs::create_dir_all(&dir)?;
        if fs::read_link(&link).ok().as_deref() != Some(llvm) {
            let _ = fs::remove_file(&link); // absent the first time
            symlink(llvm, &link)?;
        }
        Ok(dir)
    }
}

/// Is this a variable that cargo or a person set for the outer build, and that would bend the inner one?
fn leaks(name: &str) -> bool {
    const KEPT: [&str; 7] = ["HOME", "MAKEFLAGS", "NET_", "HTTP_", "REGISTR", "TERM_", "SOURCE"];
    const LEAKING: [&str; 5] = ["RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CLIPPY"];
    match name.strip_prefix("CARGO_") {
        Some(rest) => !KEPT.iter().any(|kept| rest.starts_with(kept)),
        None => LEAKING.iter().any(|leaking| name.starts_with(leaking)),
    }
}
