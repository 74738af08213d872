//! Ten sources, and how much each of them sent.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::Result;
use tests::topology::{Side, World};

/// Who sends.
#[derive(Debug)]
pub(crate) struct Sender<'a> {
    side: &'a Side,
    pub(crate) source: IpAddr,
    to: IpAddr,
    pub(crate) sent: u64,
}

/// A world with two sides: strangers on the internet, and a trusted LAN.
#[derive(Debug)]
pub(crate) struct Sides {
    pub(crate) world: World,
    internet: Side,
    lan: Side,
}

impl Sides {
    pub(crate) fn new() -> Result<Self> {
        let world = World::new()?;
        let (internet, lan) = (world.internet()?, world.lan()?);
        for n in 1..=4 {
            internet.ns.ip(&format!(
                "address add 203.0.113.{}/24 dev eth0\naddress add 2001:db8:1::{}/64 dev eth0 nodad",
                100 + n,
                100 + n
            ))?;
        }
        Ok(Self { world, internet, lan })
    }

    /// Eight strangers and two clients, v4 and v6 alike.
    pub(crate) fn senders(&self) -> Result<Vec<Sender<'_>>> {
        let mut senders = Vec::new();
        for n in 1..=4 {
            for source in [format!("203.0.113.{}", 100 + n), format!("2001:db8:1::{}", 100 + n)] {
                senders.push(Sender::new(&self.internet, source.parse()?));
            }
        }
        senders.extend(self.lan.own.both().map(|source| Sender::new(&self.lan, source)));
        Ok(senders)
    }
}

impl<'a> Sender<'a> {
    fn new(side: &'a Side, source: IpAddr) -> Self {
        let to = if source.is_ipv4() { side.guard.v4.into() } else { side.guard.v6.into() };
        Self { side, source, to, sent: 0 }
    }

    pub(crate) fn interface(&self) -> &'static str {
        self.side.interface
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.side.interface == "lan0"
    }

    /// Sends datagrams to the guarded port.
    pub(crate) fn send(&mut self, datagrams: u64) -> Result<()> {
        let (source, to) = (SocketAddr::new(self.source, 0), SocketAddr::new(self.to, 11434));
        self.side.ns.enter(|| -> Result<()> {
            let socket = UdpSocket::bind(source)?;
            for _ in 0..datagrams {
                socket.send_to(b"hello", to)?;
            }
            Ok(())
        })??;
        self.sent += datagrams;
        Ok(())
    }
}
