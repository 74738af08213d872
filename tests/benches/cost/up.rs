//! Brings a link up by one system call: a program started for it would be most of what is measured.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

/// `struct ifreq` (`include/uapi/linux/if.h`), as `SIOCSIFFLAGS` reads it.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// Of an interface of the calling thread's namespace.
pub(crate) fn bring_up(name: &str) -> io::Result<()> {
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags: libc::IFF_UP.try_into().unwrap_or(1), rest: [0; 22] };
    let (Some(room), true) = (request.name.get_mut(..name.len()), name.len() < libc::IFNAMSIZ) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    room.copy_from_slice(name.as_bytes());
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: the kernel reads a request of this layout, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
