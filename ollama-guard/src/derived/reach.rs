//! Whom the daemon talks to. It may open what others may not, so nobody's word makes it open anything but a socket of his own:
//! by the socket's path, before it connects, and by the peer, before it says a word.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// Others may write there.
const WRITABLE: u32 = 0o022;
/// What lies in such a directory nobody but its owner removes.
const STICKY: u32 = 0o1000;

/// Connects to a socket of this user, without waiting: a blocking connect waits for as long as the other's queue is full.
pub(super) fn reach(path: &Path, user: u32) -> io::Result<UnixStream> {
    let path = own_socket(path, user)?;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(&path)?)?;
    let peer = peer(&socket)?;
    if peer != user {
        return Err(denied(&path, &format!("answered by user {peer}, not by user {user}")));
    }
    Ok(UnixStream::from(socket))
}

/// Who listens there: the user at the time of `listen(2)`.
fn peer(socket: &OwnedFd) -> io::Result<u32> {
    Ok(getsockopt(socket, PeerCredentials)?.uid())
}

/// The path without links, if the socket is this user's and nobody but him and root can put another one in its place.
fn own_socket(path: &Path, user: u32) -> io::Result<PathBuf> {
    if !path.is_absolute() {
        return Err(denied(path, "not an absolute path"));
    }
    let path = fs::canonicalize(path)?;
    for folder in path.ancestors().skip(1) {
        let found = fs::symlink_metadata(folder)?;
        let is_open = found.mode() & WRITABLE != 0 && found.mode() & STICKY == 0;
        if !is_own(found.uid(), user) || is_open {
            return Err(denied(folder, &format!("others than user {user} can write there")));
        }
    }
    let found = fs::symlink_metadata(&path)?;
    if !found.file_type().is_socket() || found.uid() != user {
        return Err(denied(&path, &format!("not a socket of user {user}")));
    }
    Ok(path)
}

const fn is_own(owner: u32, user: u32) -> bool {
    owner == 0 || owner == user
}

fn denied(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Only root can give files away, and then the folder is root's.
    #[test]
    fn nobody_makes_us_talk_to_another_s_socket() {
        if !nix::unistd::geteuid().is_root() {
            return println!("skipped: not root");
        }
        let folder = std::env::temp_dir().join(format!("ollama-guard-reach-{}", std::process::id()));
        fs::create_dir_all(folder.join("open")).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let at = |name: &str| folder.join(name);
        let _root = UnixListener::bind(at("root.sock")).unwrap();
        let _given = UnixListener::bind(at("given.sock")).unwrap();
        chown(at("given.sock"), Some(12345), None).unwrap();
        let _open = UnixListener::bind(at("open/root.sock")).unwrap();
        symlink(at("root.sock"), at("link.sock")).unwrap();
        fs::write(at("file"), "").unwrap();
        mode(&at("open"), 0o777);

        assert!(reach(&at("root.sock"), 0).is_ok());
        assert!(reach(&at("link.sock"), 0).is_ok(), "a link of root's to root's");
        let refused = |name: &str, user| reach(&at(name), user).unwrap_err().to_string();
        for (name, user, why) in [
            ("root.sock", 12345, "not a socket of user 12345"),
            ("link.sock", 12345, "not a socket of user 12345"),
            ("given.sock", 12345, "answered by user 0"),
            ("given.sock", 0, "not a socket of user 0"),
            ("open/root.sock", 0, "can write there"),
            ("file", 0, "not a socket"),
        ] {
            assert!(refused(name, user).contains(why), "{name}: {}", refused(name, user));
        }
        mode(&at("open"), 0o1777);
        assert!(reach(&at("open/root.sock"), 0).is_ok(), "as in /tmp");
        assert!(reach(Path::new("root.sock"), 0).unwrap_err().to_string().contains("absolute"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
