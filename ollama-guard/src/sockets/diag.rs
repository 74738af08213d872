//! The sockets that wait, as `sock_diag(7)` tells: of TCP the kernel looks at nothing but those that listen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Kind, Socket, Version};
use crate::netlink::attributes::{Attributes, u32_at};
use crate::netlink::{Ask, Family, NetlinkError, converse};
use crate::policy::Protocol;

/// `include/uapi/linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `include/net/tcp_states.h`; an unconnected UDP socket is "closed".
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;
/// Lengths of `struct inet_diag_sockid`, within both, and of `struct inet_diag_req_v2` (`include/uapi/linux/inet_diag.h`).
const SOCKET_ID: usize = 48;
const REQUEST: usize = 8 + SOCKET_ID;
/// Length of `struct inet_diag_msg`, and the attribute `INET_DIAG_SKV6ONLY` behind it: a byte (same file).
const MESSAGE: usize = 4 + SOCKET_ID + 20;
const V6_ONLY: u16 = 11;

/// The kernel has nothing of this for that protocol, and started a program to look for a module. It would each time.
static NO_TCP: AtomicBool = AtomicBool::new(false);
static NO_UDP: AtomicBool = AtomicBool::new(false);

/// Asks the kernel; `None` where it was built without this, or without that version of IP.
pub(super) fn list(kind: Kind, keep: &mut dyn FnMut(&Socket) -> bool) -> Option<Vec<Socket>> {
    let missing = match kind.protocol {
        Protocol::Tcp => &NO_TCP,
        Protocol::Udp => &NO_UDP,
    };
    if missing.load(Ordering::Relaxed) {
        return None;
    }
    match ask(kind, keep) {
        Ok(sockets) => Some(sockets),
        Err(error) => {
            missing.fetch_or(error.raw_os_error() == Some(libc::ENOENT), Ordering::Relaxed);
            None
        }
    }
}

fn ask(kind: Kind, keep: &mut dyn FnMut(&Socket) -> bool) -> Result<Vec<Socket>, NetlinkError> {
    let mut sockets = Vec::new();
    converse(Family::SockDiag, "list the sockets", SOCK_DIAG_BY_FAMILY, Ask::Dump, &request(kind), |body| {
        sockets.extend(Some(socket(kind.protocol, body).ok_or("a socket is too short")?).filter(&mut *keep));
        Ok(())
    })?;
    Ok(sockets)
}

/// Family, protocol, no attributes, a pad, which states; and no socket in particular.
fn request(kind: Kind) -> [u8; REQUEST] {
    let family = match kind.version {
        Version::V4 => libc::AF_INET,
        Version::V6 => libc::AF_INET6,
    };
    let (protocol, state) = match kind.protocol {
        Protocol::Tcp => (libc::IPPROTO_TCP, TCP_LISTEN),
        Protocol::Udp => (libc::IPPROTO_UDP, TCP_CLOSE),
    };
    let mut request = [0; REQUEST];
    request[0] = u8::try_from(family).unwrap_or_default();
    request[1] = u8::try_from(protocol).unwrap_or_default();
    request[4..8].copy_from_slice(&(1_u32 << state).to_ne_bytes());
    request
}

/// `struct inet_diag_msg`: family, state and two more bytes; source port, destination port, source address, ...; then
/// expiry, two queues, user and inode.
pub(super) fn socket(protocol: Protocol, message: &[u8]) -> Option<Socket> {
    const ID: usize = 4;
    let address: [u8; 16] = *message.get(ID + 4..)?.first_chunk()?;
    let address = match i32::from(*message.first()?) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from_octets(*address.first_chunk()?)),
        _ => IpAddr::V6(Ipv6Addr::from_octets(address)),
    };
    let attributes = Attributes(message.get(MESSAGE..).unwrap_or_default());
    Some(Socket {
        protocol,
        address,
        v6_only: address.is_unspecified() && attributes.get(V6_ONLY) == Some(&[1]),
        port: u16::from_be_bytes(*message.get(ID..)?.first_chunk()?),
        user: u32_at(message, ID + SOCKET_ID + 12)?,
        inode: u32_at(message, ID + SOCKET_ID + 16)?.into(),
    })
}
