//! Whole frames onto a wire: a packet socket bound to one interface.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use crate::netns::Netns;

/// Sends frames by one interface, exactly as they are.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    described: bool,
}

impl Wire {
    /// Opens an interface of a namespace to send by.
    pub fn open(ns: &Netns, interface: &str) -> Result<Self> {
        Self::new(ns, interface, false)
    }

    /// Opens an interface of the calling thread's namespace.
    pub fn here(interface: &str) -> io::Result<Self> {
        Ok(Self { socket: socket(interface, false)?, described: false })
    }

    /// The same past the device's queue, which swallows frames without a word as long as its link has only just come up.
    pub fn direct(ns: &Netns, interface: &str) -> Result<Self> {
        let wire = Self::open(ns, interface)?;
        enable(&wire.socket, libc::PACKET_QDISC_BYPASS)?;
        Ok(wire)
    }

    /// The same with long frames (more than a page) laid out as a driver with small receive buffers would: the first 14
    /// bytes in front, everything else in page fragments.
    pub fn scattered(ns: &Netns, interface: &str) -> Result<Self> {
        Self::new(ns, interface, true)
    }

    fn new(ns: &Netns, interface: &str, described: bool) -> Result<Self> {
        let open = ns.enter(|| socket(interface, described))?;
        let socket = open.with_context(|| format!("opening a packet socket on {interface}"))?;
        Ok(Self { socket, described })
    }

    /// Sends a frame, again and again until there is room for it: what was sent has arrived.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        while !self.offer(frame).with_context(|| format!("sending {} bytes", frame.len()))? {
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Sends a frame; false if there is no room for it now.
    pub fn offer(&self, frame: &[u8]) -> io::Result<bool> {
        let sent = if self.described {
            // struct virtio_net_hdr (include/uapi/linux/virtio_net.h): of the header, 14 bytes in the linear part.
            let header = [0, 0, 14, 0, 0, 0, 0, 0, 0, 0];
            self.socket.send(&[&header, frame].concat())
        } else {
            self.socket.send(frame)
        };
        match sent {
            // The receiver's queue is full, or its end of the link is down: the device says so.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(false),
            sent => sent.map(|_| true),
        }
    }
}

/// A packet socket on an interface of the calling thread's namespace.
fn socket(interface: &str, described: bool) -> io::Result<Socket> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    bind(&socket, index)?;
    if described {
        // Each frame is preceded by a description of how to lay it out.
        enable(&socket, libc::PACKET_VNET_HDR)?;
    }
    Ok(socket)
}

fn bind(socket: &Socket, interface: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: 0, // receives nothing
        sll_ifindex: i32::try_from(interface).unwrap_or_default(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
    // SAFETY: the kernel reads `length` bytes of an address that outlives the call.
    let result = unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Switches an option of packet sockets on (`packet(7)`).
fn enable(socket: &Socket, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or_default();
    // SAFETY: the kernel reads `length` bytes of a number that outlives the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, std::ptr::from_ref(&on).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
