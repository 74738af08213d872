//! A layer-3 device whose other end is this process: what is written arrives, as the protocol that it says.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};

use crate::netns::Netns;

/// The device; it goes when this is dropped.
#[derive(Debug)]
pub struct Tun(File);

impl Tun {
    /// Makes one in a namespace.
    pub fn create(ns: &Netns, name: &str) -> Result<Self> {
        let made = ns.enter(|| create(name))?;
        Ok(Self(made.with_context(|| format!("making the device {name}"))?))
    }

    /// Hands the kernel a packet.
    pub fn send(&self, ethertype: u16, packet: &[u8]) -> io::Result<()> {
        // struct tun_pi (include/uapi/linux/if_tun.h): flags, protocol.
        let [high, low] = ethertype.to_be_bytes();
        (&self.0).write_all(&[&[0, 0, high, low], packet].concat())
    }
}

fn create(name: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: a plain C structure, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_TUN).unwrap_or_default();
    // SAFETY: the kernel reads and writes within the structure.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result == 0 { Ok(file) } else { Err(io::Error::last_os_error()) }
}
