//! Where requests come in.

use std::fmt;
use std::fs::{self, Permissions};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::AddressFamily;
use rustix::net::sockopt::{socket_acceptconn, socket_domain};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::policy::Listen;

/// Why nobody can be listened to.
#[derive(Debug, Error)]
pub(super) enum ListenError {
    #[error("cannot listen on {place}: {source}; {}", hint(place, source))]
    Bind { place: Listen, source: io::Error },
    #[error("systemd passed a socket that cannot be listened on ({0}); the socket unit needs ListenStream=")]
    Inherited(io::Error),
}

fn hint(place: &Listen, error: &io::Error) -> String {
    match (error.kind(), place) {
        (io::ErrorKind::AddrInUse, Listen::Tcp(address)) => format!(
            "another program has the port (ss -ltnp sport = :{} names it): end that one or change `listen` under [metrics]",
            address.port()
        ),
        (io::ErrorKind::AddrNotAvailable, _) => "no interface has this address now; it is tried again".to_owned(),
        (io::ErrorKind::NotFound, Listen::Unix(_)) => {
            "make the directory, or change `listen` under [metrics]".to_owned()
        }
        _ => "change `listen` under [metrics]".to_owned(),
    }
}

/// A connection, of whichever kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// A connection and where it comes from, if that has an address: all of an IPv6 /64 is one source.
pub(super) type Accepted = (Pin<Box<dyn Stream>>, Option<IpAddr>);

/// Sockets that accept; perhaps none.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<Listener>);

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// If the file is ours.
        _file: Option<OwnPath>,
    },
}

/// A socket's file that we made, and take away again.
#[derive(Debug)]
struct OwnPath(PathBuf);

impl Drop for OwnPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Listeners {
    /// Opens what the configuration asks for; if systemd passed sockets, those.
    pub(super) fn open(wanted: Option<&Listen>, inherited: &[OwnedFd]) -> Result<Self, ListenError> {
        let Some(place) = wanted else { return Ok(Self::default()) };
        if inherited.is_empty() {
            let failed = |source| ListenError::Bind { place: place.clone(), source };
            return Ok(Self(vec![bind(place).map_err(failed)?]));
        }
        let adopted = inherited.iter().map(|socket| adopt(socket).map_err(ListenError::Inherited));
        adopted.collect::<Result<_, _>>().map(Self)
    }

    /// The next connection. Waits for ever if nothing listens.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        poll_fn(|context| {
            let polled = self.0.iter().map(|listener| listener.poll_accept(context));
            polled.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }
}

impl Listener {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        Poll::Ready(match self {
            Self::Tcp(listener) => ready!(listener.poll_accept(context))
                .map(|(stream, from)| -> Accepted { (Box::pin(stream), Some(source(from.ip()))) }),
            Self::Unix { listener, .. } => {
                ready!(listener.poll_accept(context)).map(|(stream, _)| -> Accepted { (Box::pin(stream), None) })
            }
        })
    }
}

fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn bind(place: &Listen) -> io::Result<Listener> {
    match place {
        Listen::Tcp(address) => {
            let socket =
                if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
            // Connections of the daemon before this one may still be in TIME_WAIT.
            socket.set_reuseaddr(true)?;
            socket.bind(*address)?;
            Ok(Listener::Tcp(socket.listen(128)?))
        }
        Listen::Unix(path) => {
            let listener = match UnixListener::bind(path) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
                    fs::remove_file(path)?;
                    UnixListener::bind(path)?
                }
                bound => bound?,
            };
            let own = OwnPath(path.clone());
            // As open as a port on loopback is; a directory above it can be stricter.
            fs::set_permissions(path, Permissions::from_mode(0o666))?;
            Ok(Listener::Unix { listener, _file: Some(own) })
        }
    }
}

/// A socket that nobody listens on: what a daemon that was killed leaves behind.
fn is_abandoned(path: &Path) -> bool {
    let socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let refused =
        || std::os::unix::net::UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
    socket && refused()
}

fn adopt(socket: &OwnedFd) -> io::Result<Listener> {
    if !socket_acceptconn(socket.as_fd())? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
    }
    let copy = socket.try_clone()?;
    match socket_domain(socket.as_fd())? {
        AddressFamily::INET | AddressFamily::INET6 => {
            let listener = std::net::TcpListener::from(copy);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener).map(Listener::Tcp)
        }
        AddressFamily::UNIX => {
            let listener = std::os::unix::net::UnixListener::from(copy);
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener).map(|listener| Listener::Unix { listener, _file: None })
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither TCP nor a unix socket")),
    }
}

impl fmt::Display for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, listener) in self.0.iter().enumerate() {
            let between = if nth == 0 { "" } else { " and " };
            match listener {
                Listener::Tcp(listener) => match listener.local_addr() {
                    Ok(address) => write!(f, "{between}http://{address}/metrics")?,
                    Err(_) => write!(f, "{between}a TCP socket")?,
                },
                Listener::Unix { listener, .. } => {
                    let address = listener.local_addr().ok();
                    let path = address.as_ref().and_then(|address| address.as_pathname());
                    write!(f, "{between}unix:{}", path.unwrap_or(Path::new("?")).display())?;
                }
            }
        }
        Ok(())
    }
}
