//! Hears when somebody touches the table.

use std::io::{self, ErrorKind};

use nftnl::nftnl_sys::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::error::SeatbeltError;
use super::transport::{self, Header, Netlink, attribute};

/// `NFNLGRP_NFTABLES` as a bit (`include/uapi/linux/netfilter/nfnetlink.h`).
const GROUP: u32 = 1 << (libc::NFNLGRP_NFTABLES - 1);
/// Attribute 1 of every `nf_tables` object but a generation is the table's name (`NFTA_*_TABLE`, `NFTA_TABLE_NAME`).
const TABLE_NAME: u16 = 1;
const GENERATION_PROCESS: u16 = 2;
const GENERATION_PROCESS_NAME: u16 = 3;

/// Notifications about one table, from everyone but its keeper.
pub struct Monitor {
    socket: AsyncFd<Netlink>,
    table: String,
    /// The keeper's netlink port.
    own: u32,
    touched: bool,
}

/// Something happened to the table; whether it matters, [`super::Seatbelt::repair`] finds out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// By another program.
    By(Author),
    /// Notifications were lost: anything may have happened.
    Unknown,
}

/// Who committed a change, as the kernel says in `NFT_MSG_NEWGEN`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// Process id.
    pub process: Option<u32>,
    /// Its name, at most 15 bytes.
    pub name: Option<String>,
}

impl Monitor {
    /// Listens in this thread's network namespace, within a tokio runtime. `own` is [`super::Seatbelt::port`].
    pub fn open(table: &str, own: u32) -> Result<Self, SeatbeltError> {
        let netlink = Netlink::open(GROUP)?;
        // SAFETY: the descriptor stays what it is until the socket is dropped, which `AsyncFd` does after deregistering.
        let socket = unsafe { AsyncFd::register_with_interest(netlink, Interest::READABLE) }.map_err(|failure| {
            let why = failure.into_parts().1;
            SeatbeltError::Socket { attempt: "listening for changes of the rules", why }
        })?;
        Ok(Self { socket, table: table.to_owned(), own, touched: false })
    }

    /// The next touch. Cancel safe.
    pub async fn next(&mut self) -> io::Result<Touched> {
        let mut buffer = vec![0u8; 1 << 16];
        loop {
            let mut ready = self.socket.readable().await?;
            let received = ready.try_io(|socket| socket.get_ref().receive(&mut buffer));
            drop(ready);
            match received {
                Err(_would_block) => {}
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.touched = false;
                    return Ok(Touched::Unknown);
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Ok(Ok(length)) => {
                    if let Some(author) = self.hear(&buffer[..length]) {
                        return Ok(Touched::By(author));
                    }
                }
            }
        }
    }

    /// A transaction's notifications end with the new generation, which names the author.
    fn hear(&mut self, datagram: &[u8]) -> Option<Author> {
        let mut author = None;
        transport::split(datagram, |header, body| match message(header) {
            Some(libc::NFT_MSG_NEWGEN) if std::mem::take(&mut self.touched) => {
                author = Some(Author {
                    process: attribute(body, GENERATION_PROCESS)
                        .and_then(|value| Some(u32::from_be_bytes(value.try_into().ok()?))),
                    name: attribute(body, GENERATION_PROCESS_NAME).map(text),
                });
            }
            Some(_) if header.port != self.own && self.is_ours(body) => self.touched = true,
            _ => {}
        });
        author
    }

    fn is_ours(&self, body: &[u8]) -> bool {
        let family = i32::from(body.first().copied().unwrap_or_default());
        family == libc::NFPROTO_INET && attribute(body, TABLE_NAME).is_some_and(|name| text(name) == self.table)
    }
}

/// The `nf_tables` message number.
fn message(header: &Header<'_>) -> Option<i32> {
    (header.kind >> 8 == libc::NFNL_SUBSYS_NFTABLES).then_some(header.kind & 0xff)
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}
