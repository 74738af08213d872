//! Finds what compiles the kernel programs: a rustc with its library source, and bpf-linker.
//!
//! Shared by `cargo xtask` and `ollama-guard/build.rs` (through `#[path]`), so it uses the standard library only and
//! installs nothing. The BPF target ships no compiled `core`: cargo builds it from source (`-Z build-std`), which
//! needs the source of exactly that compiler. rustup's toolchains have it as the component `rust-src`, distributions
//! as a package beside rustc.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

/// A compiler and a linker that together can build the kernel programs.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// The compiler, with the matching library source beside it.
    pub(crate) rustc: Rustc,
    /// bpf-linker, which turns LLVM bitcode into one BPF object.
    pub(crate) linker: PathBuf,
    /// The cargo to run: the compiler's own, else the one that is running us.
    pub(crate) cargo: PathBuf,
}

/// A compiler whose library source is installed.
#[derive(Debug)]
pub(crate) struct Rustc {
    /// Its program file.
    pub(crate) path: PathBuf,
    /// Its version, such as `1.95.0`.
    pub(crate) release: String,
    /// The shared LLVM it was linked with. bpf-linker must load the same one to read its bitcode.
    pub(crate) llvm: PathBuf,
}

/// What is missing; the caller adds that `cargo xtask setup` installs it.
#[derive(Debug)]
pub(crate) struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot build the kernel programs: {}", self.0)
    }
}

impl std::error::Error for Missing {}

impl Toolchain {
    /// Looks in the places where rustup, cargo and distributions put things; takes milliseconds.
    pub(crate) fn find() -> Result<Self, Missing> {
        let (rustc, linker) = match (find_rustc(), find_linker()) {
            (Ok(rustc), Ok(linker)) => (rustc, linker),
            (Err(rustc), Err(linker)) => return Err(Missing(format!("{}; {}", linker.0, rustc.0))),
            (Err(missing), _) | (_, Err(missing)) => return Err(missing),
        };
        // A distribution's own cargo may be too old for this workspace, so only a rustup toolchain's is preferred.
        let own = rustc.path.with_file_name("cargo");
        let from_rustup = own.starts_with(rustup_home()) && own.is_file();
        let cargo = if from_rustup { own } else { env::var_os("CARGO").map_or("cargo".into(), PathBuf::from) };
        Ok(Self { rustc, linker, cargo })
    }
}

/// The first compiler that is new enough and has its library source.
pub(crate) fn find_rustc() -> Result<Rustc, Missing> {
    let mut rejected = Vec::new();
    for path in rustc_candidates() {
        match inspect(&path) {
            Ok(rustc) => return Ok(rustc),
            Err(why) => rejected.push(format!("\n  {} {why}", path.display())),
        }
    }
    let seen = if rejected.is_empty() { "\n  there is no rustc at all".into() } else { rejected.concat() };
    Err(Missing(format!("no Rust compiler with its library source (the component rust-src):{seen}")))
}

/// bpf-linker from `PATH` or cargo's bin folder: 0.10 first, which needs no LLVM of its own; a later one if that is
/// all there is.
pub(crate) fn find_linker() -> Result<PathBuf, Missing> {
    let mut found: Vec<(bool, PathBuf)> = search_path()
        .chain([cargo_home().join("bin")])
        .map(|dir| dir.join("bpf-linker"))
        .filter(|path| path.is_file())
        .filter_map(|path| Some((!output(&path, "--version")?.contains(" 0.10."), path)))
        .collect();
    found.sort_by_key(|(later, _)| *later);
    found
        .into_iter()
        .map(|(_, path)| path)
        .next()
        .ok_or_else(|| Missing("no bpf-linker in PATH or ~/.cargo/bin".into()))
}

/// Compilers in order of preference: the one cargo uses now, rustup's (stable, nightly, numbered), the system's.
fn rustc_candidates() -> Vec<PathBuf> {
    let mut toolchains: Vec<PathBuf> = fs::read_dir(rustup_home().join("toolchains"))
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    toolchains.sort();
    let active = env::var_os("CARGO").and_then(|cargo| Some(PathBuf::from(cargo).parent()?.to_owned()));
    let mut candidates: Vec<PathBuf> = Vec::new();
    let dirs = active.into_iter().chain(toolchains.into_iter().rev()).chain(search_path()).chain(["/usr/bin".into()]);
    // Where `rustup` lies, `rustc` is only its proxy: what it starts is in the list already.
    for path in dirs.filter(|dir| !dir.join("rustup").is_file()).map(|dir| dir.join("rustc")) {
        // /bin and /usr/bin are one folder on most systems.
        let known = |known: &PathBuf| known.canonicalize().ok() == path.canonicalize().ok();
        if path.is_file() && !candidates.iter().any(known) {
            candidates.push(path);
        }
    }
    candidates
}

/// Checks one compiler; the error is the reason it does not do, worded to follow its path.
fn inspect(path: &Path) -> Result<Rustc, String> {
    let prefix = path.parent().and_then(Path::parent).ok_or("has no folder above it")?;
    let source = prefix.join("lib/rustlib/src/rust");
    if !source.join("library/core/Cargo.toml").is_file() {
        return Err("has no library source".into());
    }
    let verbose = output(path, "-vV").ok_or("does not start")?;
    let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let (release, llvm) = (field("release:"), field("LLVM version:"));
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    if version(release) < version(oldest) {
        return Err(format!("is {release}, older than {oldest}"));
    }
    // Debian's `rust` folder is a link to `rustc-VERSION`: a name that disagrees means a half-done upgrade.
    let real = source.canonicalize().unwrap_or_default();
    let named = real.file_name().and_then(|name| name.to_str()?.strip_prefix("rustc-"));
    if named.is_some_and(|named| named != release) {
        return Err(format!("is {release}, but its library source is {}", named.unwrap_or_default()));
    }
    let major = llvm.split('.').next().unwrap_or_default();
    let llvm = find_llvm(prefix, field("host:"), major).ok_or(format!("has no shared LLVM {major} library"))?;
    Ok(Rustc { path: path.to_owned(), release: release.to_owned(), llvm })
}

/// The shared LLVM library of the given major version that a compiler under `prefix` loads.
fn find_llvm(prefix: &Path, host: &str, major: &str) -> Option<PathBuf> {
    let multiarch = host.replace("-unknown-", "-");
    let dirs = ["lib".into(), format!("lib/{multiarch}"), "lib64".into(), format!("lib/llvm-{major}/lib")];
    let names = [format!("libLLVM-{major}"), format!("libLLVM.so.{major}")];
    dirs.iter()
        .filter_map(|dir| fs::read_dir(prefix.join(dir)).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| {
            path.file_name().is_some_and(|file| names.iter().any(|name| file.to_string_lossy().starts_with(name)))
        })
        // rustup ships a linker script of nearly the same name.
        .find(|path| {
            let mut magic = [0; 4];
            fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
        })
}

fn version(text: &str) -> Vec<u32> {
    text.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
}

fn output(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn search_path() -> impl Iterator<Item = PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>().into_iter()
}

fn home(variable: &str, default: &str) -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| OsString::from("/root"))).join(default);
    env::var_os(variable).map_or_else(home, PathBuf::from)
}

fn rustup_home() -> PathBuf {
    home("RUSTUP_HOME", ".rustup")
}

fn cargo_home() -> PathBuf {
    home("CARGO_HOME", ".cargo")
}
