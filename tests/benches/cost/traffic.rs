//! What the guard costs traffic that is none of its business, its hooks as `auto` chooses them.
//!
//! One thread is both ends of a connection over a veth, so its time is all there is: the programs', and the kernel's work
//! in between.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::yield_now;

use anyhow::{Context, Result};
use tests::guard::Guard;
use tests::netns::Netns;

use crate::arena::Host;
use crate::measure::{Contender, busy_with_softirq, pin, race};
use crate::table::{Goal, Row};

const PORT: u16 = 8080;
const BULK: usize = 128 << 20;
const REQUESTS: u32 = 5_000;
/// Of a request and of its answer.
const REQUEST: usize = 200;
const ROUNDS: usize = 25;

/// Both ends.
struct Connection {
    client: TcpStream,
    server: TcpStream,
}

/// The rows of the table.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let outside = Netns::new("outside")?;
    let (guarded, half, open) = (Host::new("guarded")?, Host::new("half")?, Host::new("open")?);
    let on = connect(&outside, &guarded, "on0", 1)?;
    let alone = connect(&outside, &half, "half0", 2)?;
    let off = connect(&outside, &open, "off0", 3)?;
    let guards = [Guard::start(&guarded.ns, "")?, Guard::start(&half.ns, "seatbelt = false")?];
    guards[0].attached_as("on0", "guarded")?;
    guards[1].attached_as("half0", "guarded")?;

    let mut rows = Vec::new();
    for (what, figure, work) in [
        ("bulk TCP", gigabits as fn(f64) -> String, Connection::bulk as fn(&mut Connection) -> Result<f64>),
        ("request and answer", |nanoseconds| format!("{:.2} µs", nanoseconds / 1e3), Connection::requests),
    ] {
        let mut contenders = Vec::new();
        for (name, ends) in [("guard off", &off), ("eBPF alone", &alone), ("guard on", &on)] {
            let mut ends = Connection { client: ends.client.try_clone()?, server: ends.server.try_clone()? };
            contenders.push(Contender { name: name.to_owned(), work: Box::new(move || work(&mut ends)) });
        }
        let samples = outside.enter(|| pin().and_then(|()| race(contenders, ROUNDS)))??;
        for (name, goal) in [("guard on", Goal::AtLeast(0.98)), ("eBPF alone", Goal::None)] {
            rows.push(Row::speed(&samples, what, name, "guard off", goal, figure)?);
        }
    }
    Ok(rows)
}

fn gigabits(nanoseconds_a_kib: f64) -> String {
    format!("{:.1} Gbit/s", 8.0 * 1024.0 / nanoseconds_a_kib)
}

/// A connection over a new link into a host.
fn connect(outside: &Netns, host: &Host, interface: &str, net: u8) -> Result<Connection> {
    host.door(outside, interface)?;
    let to = Ipv4Addr::new(198, 18, net, 1);
    host.ns.ip(&format!("address add {to}/24 dev {interface}"))?;
    outside.ip(&format!("address add 198.18.{net}.2/24 dev to-{interface}"))?;
    let listener = host.ns.enter(|| TcpListener::bind((to, PORT)))??;
    let client = outside.enter(|| TcpStream::connect((to, PORT)))??;
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
        end.set_nonblocking(true)?;
    }
    Ok(Connection { client, server })
}

impl Connection {
    /// Nanoseconds a KiB.
    fn bulk(&mut self) -> Result<f64> {
        let mut buffer = vec![0; 256 << 10];
        let ((), time) = busy_with_softirq(|| {
            let (mut sent, mut received) = (0, 0);
            while received < BULK {
                let left = buffer.len().min(BULK - sent);
                let (out, back) = (ready(self.client.write(&buffer[..left]))?, ready(self.server.read(&mut buffer))?);
                sent += out;
                received += back;
                if out + back == 0 {
                    yield_now();
                }
            }
            Ok(())
        })?;
        Ok(time.as_secs_f64() * 1e9 * 1024.0 / f64::from(u32::try_from(BULK)?))
    }

    /// Nanoseconds a request with its answer.
    fn requests(&mut self) -> Result<f64> {
        let ((), time) = busy_with_softirq(|| {
            for _ in 0..REQUESTS {
                pass(&mut self.client, &mut self.server)?;
                pass(&mut self.server, &mut self.client)?;
            }
            Ok(())
        })?;
        Ok(time.as_secs_f64() * 1e9 / f64::from(REQUESTS))
    }
}

/// A request, or an answer.
fn pass(from: &mut TcpStream, to: &mut TcpStream) -> Result<()> {
    let mut buffer = [0; REQUEST];
    from.write_all(&buffer).context("sending")?;
    let mut received = 0;
    while received < REQUEST {
        match ready(to.read(&mut buffer))? {
            0 => yield_now(),
            more => received += more,
        }
    }
    Ok(())
}

/// How much; nothing if it would have to wait.
fn ready(result: std::io::Result<usize>) -> Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => Ok(result?),
    }
}
