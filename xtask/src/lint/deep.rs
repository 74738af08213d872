//! `cargo xtask lint --deep`: what takes minutes, or a part of the toolchain that not everybody has. A check whose tool
//! cannot be had says `skipped: why`.

use super::{Check, HOST};
use crate::{fuzz, setup, sh, test};
use anyhow::{Context as _, Result, bail};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const CARGO_LLVM_COV: &str = "0.6.21";
/// Lines of the pure parts that tests must reach, in percent.
const COVERED: &str = "95";
/// What does not count: the tests themselves, and what is not pure. It talks to the kernel, to sockets, files and processes,
/// and is seen by the suites. First modules with all that is below them, then files alone: what decides may lie below.
const NOT_PURE: &str = "(xtask|tests|rustc|registry)/|/(tests|properties|fixture|samples)\\.rs|ollama-guard/src/(\
    (control|datapath|derived/engine|links/features|observe/collect|reconcile|seatbelt/libnftnl|service)(/|\\.rs)|\
    (account|command(/[a-z]+)?|derived(/(events|exchange|lookout|watch))?|events(/(log|server|teller))?\
    |exporter(/(activation|connections|listener|reader|web|web/tls))?|links(/(events|read|sysfs))?|logs|main|netlink\
    |observe/(metrics/process|terminal)|procfs(/read)?|seatbelt/(keeper|monitor|object|readback|transport)\
    |sockets(/diag)?)\\.rs)";
/// For downloads, which some networks swallow.
const PATIENCE: Duration = Duration::from_mins(1);

/// The checks, by name.
pub(super) const CHECKS: [(&str, Check); 5] = [
    ("oldest compiler", oldest_compiler),
    ("undefined behaviour", undefined_behaviour),
    ("addresses", addresses),
    ("coverage", coverage),
    ("fuzz targets", fuzz::check),
];

#[expect(clippy::unnecessary_wraps, reason = "the outcome of a check")]
fn skip(why: &str) -> Result<()> {
    eprintln!("skipped: {why}");
    Ok(())
}

/// The `rust-version` of the manifest is true.
fn oldest_compiler() -> Result<()> {
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    let mut cargo = if rustc(&["--version"])?.contains(&format!("rustc {oldest}.")) {
        sh::cargo("check")
    } else {
        let mut rustup = Command::new("rustup");
        rustup.args(["toolchain", "install", oldest, "--profile=minimal"]);
        if sh::run_within(PATIENCE, &mut rustup).is_err() {
            return skip(&format!("rustup cannot install Rust {oldest}"));
        }
        let mut cargo = Command::new("cargo");
        cargo.arg(format!("+{oldest}")).arg("check").current_dir(sh::workspace()).env_remove("RUSTUP_TOOLCHAIN");
        cargo
    };
    sh::run(cargo.args(HOST).arg("--all-targets").env("CARGO_TARGET_DIR", deep("oldest")?))
}

/// Miri runs the tests of what kernel and program share. It has no system calls, so the other crates are out of its reach.
fn undefined_behaviour() -> Result<()> {
    let miri = || sh::succeeds(Command::new("rustup").args(["run", "nightly", "cargo", "miri", "--version"]));
    let mut add = Command::new("rustup");
    add.args(["component", "add", "--toolchain=nightly", "miri", "rust-src"]);
    if !miri() && (sh::run_within(PATIENCE, &mut add).is_err() || !miri()) {
        return skip("no Miri: rustup component add --toolchain nightly miri rust-src");
    }
    let mut cargo = Command::new("rustup");
    cargo.args(["run", "nightly", "cargo", "miri", "test", "--package=ollama-guard-common"]);
    // A thousand times slower than a processor; and proptest wants to know the time.
    cargo.envs([("PROPTEST_CASES", "8"), ("MIRIFLAGS", "-Zmiri-disable-isolation")]);
    sh::run(cargo.current_dir(sh::workspace()).env("CARGO_TARGET_DIR", deep("miri")?))
}

/// `AddressSanitizer` on the unsafe parts of the program: its own tests of nftables and interfaces, and a daemon that lives
/// and dies. As root.
fn addresses() -> Result<()> {
    let target = rustc(&["-vV"])?;
    let target = target.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?.to_owned();
    if !["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"].contains(&target.as_str()) {
        return skip("there is no AddressSanitizer for this machine");
    }
    let folder = deep("addresses")?;
    let sanitized = |subcommand| {
        let mut cargo = sh::cargo(subcommand);
        cargo.args(["--locked", "--package=ollama-guard", "--target", &target]);
        // The sanitizer is no stable option of the compiler; this makes any compiler take it.
        cargo.envs([("RUSTC_BOOTSTRAP", "1"), ("RUSTFLAGS", "-Zsanitizer=address")]).env("CARGO_TARGET_DIR", &folder);
        cargo
    };
    let mut own = sanitized("test");
    test::as_root(&mut own)?;
    sh::run(own.args(["--lib", "--test=seatbelt", "--test=links"]))?;
    sh::run(sanitized("build").arg("--bin=ollama-guard"))?;
    let mut suites = sh::cargo("test");
    suites.args(["--locked", "--package=tests", "--test=lifecycle", "--test=status"]);
    suites.env("OLLAMA_GUARD_BIN", folder.join(target).join("debug/ollama-guard"));
    test::as_root(&mut suites)?;
    sh::run(&mut suites)
}

/// What the crates' own tests reach of the parts that decide. As root: rules are decided on, and then held against the kernel.
fn coverage() -> Result<()> {
    let Some(tools) = llvm_tools()? else {
        return skip("no llvm-cov of the compiler's LLVM: rustup component add llvm-tools");
    };
    if sh::find_program("cargo-llvm-cov").is_none() {
        setup::say("cargo-llvm-cov", "says which lines the tests reach");
        setup::cargo_install("cargo-llvm-cov", CARGO_LLVM_COV)?;
    }
    let mut cargo = sh::cargo("llvm-cov");
    cargo.args(["--locked", "--package=ollama-guard-common", "--package=ollama-guard", "--lib"]);
    cargo.args([
        "--test=classifier",
        "--test=seatbelt",
        "--summary-only",
        "--fail-under-lines",
        COVERED,
        "--ignore-filename-regex",
        NOT_PURE,
    ]);
    test::as_root(&mut cargo)?;
    cargo.envs([("LLVM_COV", tools.join("llvm-cov")), ("LLVM_PROFDATA", tools.join("llvm-profdata"))]);
    sh::run(cargo.env("CARGO_TARGET_DIR", deep("coverage")?))
}

/// Where the LLVM tools are that understand the compiler's output: its own, else the distribution's of the same version.
fn llvm_tools() -> Result<Option<PathBuf>> {
    let verbose = rustc(&["-vV"])?;
    let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    let major = field("LLVM version: ").split('.').next().unwrap_or_default().to_owned();
    let own = Path::new(rustc(&["--print", "sysroot"])?.trim()).join("lib/rustlib").join(field("host: ")).join("bin");
    let find = || [own.clone(), format!("/usr/lib/llvm-{major}/bin").into()].into_iter().find(|dir| has_tools(dir));
    if find().is_none() {
        let mut rustup = Command::new("rustup");
        let _ = sh::run_within(PATIENCE, rustup.args(["component", "add", "llvm-tools"])); // else there is none
    }
    Ok(find())
}

fn has_tools(dir: &Path) -> bool {
    ["llvm-cov", "llvm-profdata"].iter().all(|tool| dir.join(tool).is_file())
}

/// What the compiler of the cargo that runs us prints.
fn rustc(arguments: &[&str]) -> Result<String> {
    let beside = env::var_os("CARGO").map(|cargo| PathBuf::from(cargo).with_file_name("rustc"));
    let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| "rustc".into());
    let output = Command::new(program).args(arguments).output().context("cannot start rustc")?;
    if !output.status.success() {
        bail!("rustc {} failed", arguments.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A target folder of a check's own: other flags than the usual ones would undo the usual build each time.
fn deep(name: &str) -> Result<PathBuf> {
    let folder = sh::target_dir()?.join("deep").join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
