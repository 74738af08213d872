//! A real Docker daemon in a namespace of a test: its bridge, its NAT rules and its proxies are there and nowhere else.
//!
//! Its image holds busybox alone, so nothing is downloaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use tempfile::TempDir;

use crate::leftovers;
use crate::listener::GREETING;
use crate::netns::{Netns, run};
use crate::process::Process;
use crate::requires::{self, find_tool};
use crate::wait;

/// How long the daemon may take, to start or to stop, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the daemon needs.
pub fn available() -> Result<(), String> {
    ["dockerd", "docker", "busybox", "tar", "iptables"].into_iter().try_for_each(requires::tool)
}

/// A Docker daemon with storage, socket and control group of its own. Dropping it removes its containers and all of those.
#[derive(Debug)]
pub struct Docker {
    folder: TempDir,
    /// Below every controller's mount.
    control_group: String,
    process: Process,
}

impl Docker {
    /// Starts the daemon with further options and loads the image.
    pub fn start(ns: &Netns, options: &[&str]) -> Result<Self> {
        let folder = leftovers::folder()?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(folder.path().join("daemon.json"), "{}")?;
        let control_group = leftovers::unique_name("docker");
        let own = [
            format!("--config-file={}", at("daemon.json")),
            format!("--data-root={}", at("data")),
            format!("--exec-root={}", at("exec")),
            format!("--pidfile={}", at("pid")),
            format!("--host=unix://{}", at("docker.sock")),
            format!("--cgroup-parent=/{control_group}"),
            // systemd need not be there.
            "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
        ];
        let arguments: Vec<&str> = own.iter().map(String::as_str).chain(options.iter().copied()).collect();
        let process = ns.spawn("dockerd", &arguments)?;
        let mut docker = Self { folder, control_group, process };
        wait::until("dockerd to answer", PATIENCE, || {
            !docker.process.is_running() || docker.command(&["version"]).is_ok()
        })?;
        docker.command(&["version"]).with_context(|| docker.process.log())?;
        docker.import()?;
        Ok(docker)
    }

    /// Runs the `docker` program; returns what it printed.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let socket = format!("unix://{}", self.folder.path().join("docker.sock").display());
        run(Command::new("docker").env_remove("DOCKER_CONTEXT").args(["--host", &socket]).args(arguments))
    }

    /// Starts a container that answers by HTTP as Ollama does, on its port 11434 and on port 80.
    pub fn serve(&self, name: &str, options: &[&str]) -> Result<()> {
        let script = format!(
            "mkdir /www && echo '{GREETING}' >/www/index.html && httpd -p 80 -h /www && exec httpd -f -p 11434 -h /www"
        );
        self.command(&[&["run", "-d", "--name", name][..], options, &["box", "sh", "-c", &script]].concat())?;
        wait::until("the container to answer", PATIENCE, || {
            self.get(name, "http://127.0.0.1:11434/").is_ok_and(|answer| answer.contains(GREETING))
        })
    }

    /// Asks by HTTP from inside a container. (Debian's busybox crashes on a time limit of wget's own.)
    pub fn get(&self, name: &str, url: &str) -> Result<String> {
        self.command(&["exec", name, "timeout", "5", "wget", "-q", "-O", "-", url])
    }

    /// A container's IPv4 address.
    pub fn address(&self, name: &str) -> Result<String> {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        Ok(self.command(&["inspect", "--format", format, name])?.trim().to_owned())
    }

    /// An image named `box` that holds busybox.
    fn import(&self) -> Result<()> {
        let root = self.folder.path().join("box");
        let bin = root.join("bin");
        fs::create_dir_all(&bin)?;
        fs::copy(find_tool("busybox").context("no busybox")?, bin.join("busybox"))?;
        for applet in ["sh", "mkdir", "httpd", "wget", "sleep", "timeout"] {
            std::os::unix::fs::symlink("busybox", bin.join(applet))?;
        }
        let (root, archive) = (root.display().to_string(), self.folder.path().join("box.tar").display().to_string());
        run(Command::new("tar").args(["-C", &root, "-cf", &archive, "."]))?;
        self.command(&["import", &archive, "box"]).map(drop)
    }

    /// Takes away what the daemon leaves when it ends.
    fn clean(&self) {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for point in points.filter(|point| Path::new(point).starts_with(self.folder.path())) {
            let _ = umount2(Path::new(point), MntFlags::MNT_DETACH);
        }
        // One for every controller in version 1, one in all in version 2.
        let controllers = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
        for controller in controllers.chain([PathBuf::from("/sys/fs/cgroup")]) {
            let _ = fs::remove_dir(controller.join(&self.control_group));
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let containers = self.command(&["ps", "-aq"]).unwrap_or_default();
        let containers: Vec<&str> = containers.split_whitespace().collect();
        if !containers.is_empty() {
            let _ = self.command(&[&["rm", "-f"][..], &containers].concat());
        }
        let _ = self.process.terminate(PATIENCE);
        self.clean();
    }
}
