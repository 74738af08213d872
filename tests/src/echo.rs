//! A server that sends back every byte, and a client's side of a connection that is kept: it shows whether a connection
//! still goes both ways.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::netns::Netns;
use crate::probe;

/// Listens on a port of a namespace until the test ends, on every address of either version.
pub fn serve(ns: &Netns, port: u16) -> Result<()> {
    let listener = ns.enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))??;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
            });
        }
    });
    Ok(())
}

/// A connection to such a server.
#[derive(Debug)]
pub struct Kept(TcpStream);

impl Kept {
    /// Connects.
    pub fn begin(from: &Netns, address: IpAddr, port: u16) -> Result<Self> {
        let stream = probe::connect(from, address, port)?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Sends a byte; does one come back in time?
    pub fn goes_on(&mut self, patience: Duration) -> Result<bool> {
        self.0.set_read_timeout(Some(patience))?;
        Ok(self.0.write_all(b"x").is_ok() && self.0.read_exact(&mut [0]).is_ok())
    }
}
