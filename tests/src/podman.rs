//! A real rootless Podman in a namespace of a test, run by a user of its own who exists nowhere else.
//!
//! Its image holds busybox alone, so nothing is downloaded.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::leftovers;
use crate::listener::GREETING;
use crate::netns::{Netns, run};
use crate::process::Process;
use crate::requires::{self, find_tool};
use crate::wait;

/// What it needs. (crun does not run without a control group of version 2.)
pub fn available() -> Result<(), String> {
    ["podman", "newuidmap", "slirp4netns", "runc", "busybox", "tar", "unshare", "setpriv"]
        .into_iter()
        .try_for_each(requires::tool)
        .and(requires::file("/dev/net/tun"))
}

/// Files of the machine as this user has to find them, until the program that is started ends.
const IN_ITS_PLACE: &str = r#"
for file in passwd group; do mount --bind "$0/$file" "/etc/$file" || exit; done
for file in subuid subgid; do mount --bind "$0/ids" "/etc/$file" || exit; done
mount --bind "$0/user" /run/user && mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 || exit
exec "$@""#;

/// A user with containers. Dropping it removes both.
#[derive(Debug)]
pub struct Podman<'a> {
    ns: &'a Netns,
    folder: TempDir,
    user: u32,
}

impl<'a> Podman<'a> {
    /// Makes the user, and loads the image.
    pub fn new(ns: &'a Netns) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let user = 100_000 + process::id() % 100_000 * 10 + NEXT.fetch_add(1, Ordering::Relaxed);
        let podman = Self { ns, folder: leftovers::folder()?, user };
        let at = |name: &str| podman.folder.path().join(name);
        fs::set_permissions(podman.folder.path(), fs::Permissions::from_mode(0o755))?;
        for (file, line) in [
            ("passwd", format!("og-user:x:{user}:{user}::{}:/bin/sh\n", at("home").display())),
            ("group", format!("og-user:x:{user}:\n")),
        ] {
            fs::write(at(file), fs::read_to_string(format!("/etc/{file}"))? + &line)?;
        }
        // Beyond any such user's own id, which would be mapped twice.
        fs::write(at("ids"), "og-user:2000000:65536\n")?;
        if !fs::exists("/run/user")? {
            fs::create_dir("/run/user")?; // as systemd has it
        }
        for folder in [at("home"), at("user").join(user.to_string())] {
            fs::create_dir_all(&folder)?;
            chown(&folder, Some(user), Some(user))?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        }
        podman.import()?;
        Ok(podman)
    }

    /// A program and its arguments that starts another one so that it finds this user's runtime directory.
    pub fn wrapper(&self) -> [String; 8] {
        let folder = self.folder.path().display().to_string();
        ["unshare", "--mount", "--propagation", "slave", "sh", "-c", IN_ITS_PLACE, &folder].map(str::to_owned)
    }

    /// Runs the `podman` program as the user; returns what it printed.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        run(&mut self.prepare(arguments))
    }

    /// Starts a container that answers by HTTP as Ollama does, on its port 11434.
    pub fn serve(&self, name: &str, options: &[&str]) -> Result<()> {
        let script = format!("mkdir /www && echo -n '{GREETING}' >/www/index.html && exec httpd -f -p 11434 -h /www");
        self.command(&[&["run", "-d", "--name", name][..], options, &["box", "sh", "-c", &script]].concat()).map(drop)
    }

    /// Starts the service that `podman.socket` would start.
    pub fn service(&self) -> Result<Process> {
        let mut service = Process::spawn(&self.prepare(&["system", "service", "--time=0"]), "podman system service")?;
        let socket = self.folder.path().join(format!("user/{}/podman/podman.sock", self.user));
        let waited =
            wait::until("Podman's service", Duration::from_secs(30), || !service.is_running() || socket.exists());
        waited.with_context(|| service.log())?;
        Ok(service)
    }

    fn prepare(&self, arguments: &[&str]) -> Command {
        let wrapper = self.wrapper();
        let ids = ["--reuid", "--regid"].map(|option| format!("{option}={}", self.user));
        let become_user = ["setpriv", &ids[0], &ids[1], "--clear-groups"];
        let podman = ["podman", "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--runtime=runc"];
        let words: Vec<&str> = wrapper[1..].iter().map(String::as_str).collect();
        let mut command = self.ns.command(&wrapper[0], &[&words[..], &become_user, &podman, arguments].concat());
        command.env("HOME", self.folder.path().join("home")).current_dir("/");
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{}", self.user)).env_remove("DBUS_SESSION_BUS_ADDRESS");
        command
    }

    /// An image named `box` that holds busybox.
    fn import(&self) -> Result<()> {
        let root: PathBuf = self.folder.path().join("box");
        fs::create_dir_all(root.join("bin"))?;
        fs::copy(find_tool("busybox").context("no busybox")?, root.join("bin/busybox"))?;
        for applet in ["sh", "mkdir", "httpd"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
        }
        let archive = self.folder.path().join("box.tar").display().to_string();
        run(Command::new("tar").args(["-C", &root.display().to_string(), "-cf", &archive, "."]))?;
        self.command(&["import", &archive, "box"]).map(drop)
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        let _ = self.command(&["rm", "--force", "--all", "--time=0"]);
    }
}
