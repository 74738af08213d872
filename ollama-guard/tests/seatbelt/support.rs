//! Namespaces, policies, and the `nft` program as an independent witness.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};
use ollama_guard::policy::*;

pub(crate) struct Netns(pub(crate) String);

impl Netns {
    pub(crate) fn new(role: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sb-{}-{}-{role}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name]);
        let namespace = Self(name);
        namespace.ip("link set lo up");
        namespace
    }

    /// Moves this thread here; sockets it opens belong here.
    pub(crate) fn enter(&self) {
        setns(File::open(self.path()).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
    }

    pub(crate) fn path(&self) -> String {
        format!("/run/netns/{}", self.0)
    }

    pub(crate) fn ip(&self, line: &str) {
        let arguments: Vec<&str> = ["-n", &self.0].into_iter().chain(line.split_whitespace()).collect();
        run("ip", &arguments);
    }

    pub(crate) fn try_run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg(program).args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    pub(crate) fn nft(&self, line: &str) -> Result<String, String> {
        self.try_run("nft", &[line])
    }

    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        self.try_run("sysctl", &["-q", "-w", &format!("{key}={value}")]).unwrap();
    }

    /// Runs on a thread inside the namespace.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).stderr(Stdio::null()).status();
    }
}

pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The default policy.
pub(crate) fn policy() -> Policy {
    Policy {
        profile: Profile::Vpn,
        mode: Mode::Enforce,
        layers: Layers { wall: true, seatbelt: true },
        ollama: true,
        services: vec![service("ollama", &[11434], &[Protocol::Tcp])],
        trusted: patterns(&["lo", "tailscale0", "wg0"]),
        containers: patterns(&["docker0", "br-*"]),
        container_access: ContainerAccess::Deny,
        count_loopback: false,
        forwarded: Forwarded::Drop,
        allow: vec![],
        attach: AttachPolicy::default(),
        sources: SourceLimits { tracked: 65_536, exported: 100 },
        metrics: None,
        web_config: None,
        paths: Paths { bpf: "/".into(), run: "/".into() },
    }
}

pub(crate) fn service(name: &str, ports: &[u16], protocols: &[Protocol]) -> Service {
    Service {
        name: name.parse().unwrap(),
        ports: ports.iter().map(|port| (*port).try_into().unwrap()).collect(),
        protocols: protocols.iter().copied().collect(),
        insist: false,
    }
}

pub(crate) fn patterns(names: &[&str]) -> Vec<NamePattern> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

pub(crate) fn allow(source: &str, interface: Option<&str>, service: Option<&str>) -> Allow {
    Allow {
        source: source.parse().unwrap(),
        interface: interface.map(|name| name.parse().unwrap()),
        service: service.map(|name| name.parse().unwrap()),
        comment: None,
        implied: false,
    }
}

/// Waits until it holds.
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "it never held");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
