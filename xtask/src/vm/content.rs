//! What a machine holds: the suites, the guard, the programs both call, the libraries of all these, and the kernel's
//! modules.

use super::{Programs, archive::Archive, debian::Kernel, output};
use crate::sh;
use anyhow::{Context as _, Result};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
    process::Command,
};

/// What the suites and the harness call.
const TOOLS: &[&str] = &[
    "ip",
    "nft",
    "tc",
    "nsenter",
    "setpriv",
    "kmod",
    "ethtool",
    "ebtables-legacy",
    "ipvsadm",
    "wg",
    "unshare",
    "mount",
    "mkdir",
    "sh",
];
/// Folders of modules, below the version's own, and single ones: the network, and what it is made of here.
const MODULES: &[&str] = &[
    "kernel/net",
    "kernel/lib",
    "kernel/crypto",
    "kernel/arch/x86/crypto",
    "kernel/drivers/net/bonding",
    "kernel/drivers/net/ipvlan",
    "kernel/drivers/net/wireguard",
    "kernel/drivers/net/dummy.ko",
    "kernel/drivers/net/macvlan.ko",
    "kernel/drivers/net/tap.ko",
    "kernel/drivers/net/tun.ko",
    "kernel/drivers/net/veth.ko",
    "kernel/drivers/net/vrf.ko",
];
/// Loaded at the start: what a kernel does not load by itself when it is asked for.
const LOADED: &str = "nf_tables nft_fib_inet tun mpls_router";

/// Writes the archive for one kernel.
pub(super) fn write(image: &Path, kernel: &Kernel, guard: &Path, programs: &Programs) -> Result<()> {
    let file = File::create(image).with_context(|| format!("cannot write {}", image.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    archive.device(Path::new("/dev/console"), (5, 1))?;
    archive.file(Path::new("/modules"), LOADED.as_bytes())?;

    let mut libraries = BTreeSet::new();
    let mut add = |inside: PathBuf, outside: &Path| -> Result<()> {
        let content = fs::read(outside).with_context(|| format!("cannot read {}", outside.display()))?;
        archive.file(&inside, &content)?;
        libraries.append(&mut linked(outside)?);
        Ok(())
    };
    add("/init".into(), &programs.init)?;
    add("/usr/bin/ollama-guard".into(), guard)?;
    for (name, program) in &programs.suites {
        add(Path::new("/suites").join(name), program)?;
    }
    for tool in TOOLS {
        let found = sh::find_program(tool).with_context(|| format!("needs the program {tool}"))?;
        add(Path::new("/usr/bin").join(tool), &found)?;
    }
    for library in libraries {
        archive.file(&library, &fs::read(&library)?)?;
    }
    archive.link(Path::new("/usr/bin/modprobe"), "kmod")?;
    archive.link(Path::new("/sbin/modprobe"), "/usr/bin/kmod")?; // where the kernel looks

    let modules = Path::new("lib/modules").join(&kernel.version);
    let base = kernel.root.join(&modules);
    for entry in fs::read_dir(&base)? {
        let path = entry?.path();
        // Lists of modules, and not the kernel.
        if path.is_file() && path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"modules.")) {
            archive
                .file(&Path::new("/").join(&modules).join(path.file_name().unwrap_or_default()), &fs::read(&path)?)?;
        }
    }
    for part in MODULES {
        for module in modules_at(&base.join(part))? {
            let inside = module.strip_prefix(&kernel.root).context("a module out of place")?;
            archive.file(&Path::new("/").join(inside), &fs::read(&module)?)?;
        }
    }
    archive.finish().with_context(|| format!("cannot write {}", image.display()))
}

/// The shared libraries of a program, where the loader will look for them; none if it needs none.
fn linked(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let text = output(Command::new("ldd").arg(program)).or_else(|error| {
        if format!("{error:#}").contains("not a dynamic executable") { Ok(String::new()) } else { Err(error) }
    })?;
    let paths = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(PathBuf::from).collect())
}

/// The modules in a folder and below, or the one of this name, compressed or not. A kernel may lack any of them.
fn modules_at(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_dir() {
        let mut found = Vec::new();
        for entry in fs::read_dir(path)? {
            found.append(&mut modules_at(&entry?.path())?);
        }
        return Ok(found);
    }
    let endings = ["", ".xz", ".zst"].map(|ending| PathBuf::from(format!("{}{ending}", path.display())));
    Ok(endings.into_iter().filter(|file| file.is_file()).collect())
}
