//! Whoever can reach the metrics can be a nuisance. The guard must not notice.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::guard::Guard;
use tests::scrape::{self, Scrape};
use tests::{require, requires, wait};

use super::traffic::Sides;
use super::{METRICS, POLICY};

const MALFORMED: [&[u8]; 6] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\n\r\n",
    b"\0\0\0\0\0\0\0\0\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nzz\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: \x01\x02\r\n\r\n",
];

/// Of two hundred requests.
const ROUNDS: u64 = 50;

#[test]
fn ten_thousand_bad_requests_change_nothing() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let sides = Sides::new()?;
    let ns = &sides.world.guard;
    let mut guard = Guard::start(ns, POLICY)?;
    wait::until("metrics", Duration::from_secs(5), || Scrape::get(ns, METRICS).is_ok())?;
    // The first of every page takes what memory it takes.
    for path in ["/", "/metrics", "/-/ready", "/-/healthy"] {
        ensure!(scrape::page(ns, METRICS, path)?.0 == 200, "{path}");
    }
    let before = Scrape::get(ns, METRICS)?;

    let mut stranger = sides.senders()?.remove(0);
    let mut slow: Vec<TcpStream> = Vec::new();
    let huge = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    for round in 0..ROUNDS {
        slow.clear();
        let connections = ns.enter(|| -> Result<Vec<TcpStream>> {
            let mut connections = Vec::new();
            for nth in 0..200 {
                let mut stream = TcpStream::connect(METRICS)?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                if nth % 2 == 0 {
                    // Answered or hung up on; what exactly is not the point.
                    let bad = if nth % 50 == 0 { huge.as_bytes() } else { MALFORMED[nth / 2 % MALFORMED.len()] };
                    let _ = stream.write_all(bad);
                    let _ = stream.shutdown(Shutdown::Write);
                    let _ = stream.read(&mut [0; 64]);
                } else {
                    let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHo");
                    connections.push(stream);
                }
            }
            Ok(connections)
        })??;
        slow = connections;
        stranger.send(1)?;
        let start = Instant::now();
        let scrape = Scrape::get(ns, METRICS)?;
        ensure!(start.elapsed() < Duration::from_secs(3), "round {round}: {:?} behind the slow ones", start.elapsed());
        ensure!(scrape.sum("ollama_guard_enforcing", &[]) > 0.5, "{}", scrape.text);
    }
    drop(slow);

    let dropped = |scrape: &Scrape| scrape.count("ollama_guard_packets_total", &["verdict=\"dropped\""]);
    // On a busy machine the kernel receives the last datagram a moment after it was sent.
    let are_counted = || Scrape::get(ns, METRICS).is_ok_and(|scrape| dropped(&scrape) == dropped(&before) + ROUNDS);
    wait::until("all drops", Duration::from_secs(5), are_counted)?;
    let after = Scrape::get(ns, METRICS)?;
    let grown = after.sum("process_resident_memory_bytes", &[]) - before.sum("process_resident_memory_bytes", &[]);
    println!("the daemon grew by {grown} bytes");
    ensure!(grown < 4e6, "the daemon grew by {grown} bytes");
    ensure!(dropped(&after) == dropped(&before) + ROUNDS, "{}", after.text);
    guard.enforces()?;
    ensure!(guard.process()?.is_running());
    Ok(())
}
