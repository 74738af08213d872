//! What the machine holds: Debian, the package, its kernel's modules, and the scenario. One file system in memory.

use super::fresh;
use crate::{dist::Packages, sh, vm::debian::Kernel, vm::debian::mirror};
use anyhow::{Context as _, Result};
use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// What a small server has, and what the package needs.
const PACKAGES: &str =
    "systemd,systemd-sysv,udev,iproute2,nftables,kmod,procps,init-system-helpers,util-linux,passwd,libnftnl11,libmnl0";
const LIMIT: Duration = Duration::from_mins(10);

/// Files of the scenario, inside.
const FILES: [(&str, &str, u32); 6] = [
    ("etc/systemd/network/10-wire.network", include_str!("wire.network"), 0o644),
    ("etc/systemd/system/ollama.service", include_str!("ollama.service"), 0o644),
    ("etc/systemd/system/scenario.service", include_str!("scenario.service"), 0o644),
    ("etc/systemd/system.conf.d/slow.conf", "[Manager]\nDefaultTimeoutStartSec=300\n", 0o644),
    ("usr/local/bin/scenario", include_str!("scenario.sh"), 0o755),
    ("etc/hostname", "guarded\n", 0o644),
];

pub(super) fn write(image: &Path, folder: &Path, kernel: &Kernel, packages: &Packages, unguarded: bool) -> Result<()> {
    let base = debian(folder)?;
    let root = folder.join("boot-root");
    let _ = fs::remove_dir_all(&root);
    sh::run(Command::new("cp").args(["--archive", "--reflink=auto"]).args([&base, &root]))?;

    for (path, text, mode) in FILES {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&root))?;
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    let itself = std::env::current_exe()?;
    fs::copy(itself, root.join("usr/local/bin/xtask"))?;
    fs::copy(&packages.deb, root.join("ollama-guard.deb"))?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--strip-components=1", "--one-top-level=archive", "--directory"]).arg(&root);
    sh::run(tar.arg("--file").arg(&packages.archive))?;
    let modules = Path::new("lib/modules").join(&kernel.version);
    fs::create_dir_all(root.join("lib/modules"))?;
    sh::run(Command::new("cp").arg("--archive").args([kernel.root.join(&modules), root.join(&modules)]))?;

    // As on a machine that does not run: the package enables itself and starts nothing.
    inside(&root, &["dpkg", "--install", "/ollama-guard.deb"])?;
    let units = ["systemd-networkd.service", "ollama.service", "scenario.service"];
    inside(&root, &[&["systemctl", "enable", "--quiet"][..], &units].concat())?;
    // The console is the scenario's.
    inside(&root, &["systemctl", "mask", "--quiet", "serial-getty@ttyS0.service"])?;
    if unguarded {
        inside(&root, &["systemctl", "mask", "--quiet", "ollama-guard.service"])?;
        fs::remove_file(root.join("usr/lib/systemd/system/ollama.service.d/ollama-guard.conf"))?;
    }
    let _ = symlink("/lib/systemd/systemd", root.join("init"));
    archive(&root, image)?;
    Ok(fs::remove_dir_all(root)?)
}

/// A Debian as it is before anything of ours: made once.
fn debian(folder: &Path) -> Result<std::path::PathBuf> {
    let done = folder.join("boot-debian");
    if done.is_dir() {
        return Ok(done);
    }
    let making = folder.join("boot-debian-making");
    fresh(&making)?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap
        .args(["--variant=minbase", &format!("--include={PACKAGES}"), super::RELEASE])
        .arg(&making)
        .arg(mirror()?);
    sh::run_within(LIMIT, debootstrap.stdout(Stdio::null()))?;
    for waste in ["var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"] {
        let _ = fs::remove_dir_all(making.join(waste));
    }
    fs::rename(&making, &done)?;
    Ok(done)
}

fn inside(root: &Path, command: &[&str]) -> Result<()> {
    let mut chroot = Command::new("chroot");
    chroot.arg(root).args(command).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    sh::run(chroot.env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Unlike the archives of the other machines this one keeps owners and modes, so the usual program writes it.
fn archive(root: &Path, image: &Path) -> Result<()> {
    let mut find = Command::new("find").current_dir(root).args([".", "-print0"]).stdout(Stdio::piped()).spawn()?;
    let names = find.stdout.take().context("find without output")?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--null", "--create", "--format=newc", "--quiet"]).current_dir(root);
    sh::run(cpio.stdin(names).stdout(File::create(image)?))?;
    find.wait()?;
    Ok(())
}
