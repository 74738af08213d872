//! Programs that are not what they call themselves, as anybody without rights can write one.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;

use crate::netns::Netns;
use crate::process::Process;

/// Somebody without rights, whom no machine knows.
pub const USER: u32 = 64_222;

/// Calls itself by its first argument; listens on what its second one lists (`address|port`, with commas between); answers
/// on the unix socket of its third one, if that is one, with its fourth. The rest is for those who read its arguments.
const SCRIPT: &str = r#"
import ctypes, os, socket, sys, threading, time
name, listens, path, answer = sys.argv[1:5]
ctypes.CDLL(None).prctl(15, name.encode())
keep = []
def serve(s, answer):
    while True:
        c, _ = s.accept(); keep.append(c)
        if answer != "mute": c.settimeout(2); c.recv(4096); c.sendall(answer.encode()); c.close()
for one in filter(None, listens.split(",")):
    address, port = one.split("|")
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address, int(port))); s.listen(50)
    threading.Thread(target=serve, args=(s, "HTTP/1.0 200 OK\r\n\r\nOllama is running"), daemon=True).start()
if path:
    s = socket.socket(socket.AF_UNIX); s.bind(path); os.chmod(path, 0o777); s.listen(50)
    threading.Thread(target=serve, args=(s, answer), daemon=True).start()
print("ready", flush=True)
time.sleep(600)
"#;

/// What a process pretends.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pretender<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whose it is.
    pub user: u32,
    /// Where it listens: `0.0.0.0|8080,::1|8080`.
    pub listens: &'a str,
    /// A unix socket that it listens on, and what it says there (`mute`: nothing).
    pub socket: Option<(&'a str, &'a str)>,
    /// Its arguments.
    pub arguments: &'a [&'a str],
}

impl Pretender<'_> {
    /// Starts it; it listens when this returns.
    pub fn start(self, ns: &Netns) -> Result<Process> {
        let mut process = self.start_soon(ns)?;
        process.logged("ready", std::time::Duration::from_secs(30))?;
        Ok(process)
    }

    /// Starts it.
    pub fn start_soon(self, ns: &Netns) -> Result<Process> {
        let (user, group) = (format!("--reuid={}", self.user), format!("--regid={}", self.user));
        let (path, answer) = self.socket.unwrap_or(("", ""));
        let own =
            [user.as_str(), &group, "--clear-groups", "python3", "-c", SCRIPT, self.name, self.listens, path, answer];
        ns.spawn("setpriv", &[&own, self.arguments].concat())
    }
}

/// The arguments of docker-proxy for a port that leads to 11434.
pub fn docker_proxy(port: u16) -> [String; 10] {
    let port = port.to_string();
    [
        "-proto",
        "tcp",
        "-host-ip",
        "0.0.0.0",
        "-host-port",
        &port,
        "-container-ip",
        "172.17.0.2",
        "-container-port",
        "11434",
    ]
    .map(str::to_owned)
}

/// A folder that anybody may enter and [`USER`] may write to.
pub fn home() -> Result<tempfile::TempDir> {
    let folder = crate::leftovers::folder()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    std::os::unix::fs::chown(folder.path(), Some(USER), Some(USER))?;
    Ok(folder)
}
