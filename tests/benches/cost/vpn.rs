//! Whether those who may come notice a flood from those who may not: HTTP through a `WireGuard` tunnel, while the
//! interface under it drops a million packets a second.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::net::if_::if_nametoindex;
use tests::guard::Guard;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::probe;
use tests::topology::{Side, Vpn, World};

use crate::arena::received;
use crate::bpf::{Instruction, Kind, Link, Program, instruction as i};
use crate::frames::{GUARDED, MAC, Shape, sender};
use crate::measure::{Contender, pin, race};
use crate::table::{Goal, Row};

const ROUNDS: usize = 9;
/// How long requests are counted in one turn.
const TURN: Duration = Duration::from_secs(1);
/// A million a second.
const TICK: Duration = Duration::from_millis(10);
const FRAMES: u32 = 10_000;

const POLICY: &str = "
[interfaces]
trusted = [\"wg0\"]
[interfaces.attach]
inet0 = \"xdp\"
";

/// A host with a tunnel and a service behind it.
struct Scene {
    world: World,
    internet: Side,
    vpn: Vpn,
    _listener: Listener,
}

impl Scene {
    fn new() -> Result<Self> {
        let world = World::new()?;
        let internet = world.internet()?;
        let mac = MAC.map(|byte| format!("{byte:02x}")).join(":");
        world.guard.ip(&format!("link set inet0 address {mac}"))?;
        // As in `arena`: without it the link takes no redirected frames.
        world.guard.run("ethtool", &["-K", "inet0", "gro", "on"])?;
        let vpn = world.vpn(&internet)?;
        let listener = Listener::http(&world.guard, GUARDED)?;
        Ok(Self { world, internet, vpn, _listener: listener })
    }

    /// Nanoseconds a request.
    fn requests(&self) -> Result<f64> {
        let to = std::net::SocketAddr::new(self.vpn.side.guard.v4.into(), GUARDED);
        self.vpn.side.ns.enter(|| -> Result<f64> {
            let (start, mut done) = (Instant::now(), 0);
            while start.elapsed() < TURN {
                probe::get(to, probe::PATIENCE).context("a request through the tunnel")?;
                done += 1;
            }
            Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(done))
        })?
    }
}

/// The rows of the table.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let (ours, bare, nft) = (Scene::new()?, Scene::new()?, Scene::new()?);
    let guard = Guard::start(&ours.world.guard, POLICY)?;
    ensure!(guard.interface("inet0")?["hook"] == "xdp-native");
    let _bare = drop_at_fixed_offsets(&bare.world.guard)?;
    nft.world.guard.nft(&format!(
        "add table inet t\nadd chain inet t c {{ type filter hook prerouting priority -300; }}\n\
         add rule inet t c iifname inet0 tcp dport {GUARDED} counter drop\n"
    ))?;
    let mut contenders = Vec::new();
    for (name, scene, flooded) in
        [("no flood", &ours, false), ("ours", &ours, true), ("bare XDP", &bare, true), ("nft alone", &nft, true)]
    {
        contenders.push(Contender {
            name: name.to_owned(),
            work: Box::new(move || {
                let before = received(&scene.world.guard, "inet0")?;
                let flood = if flooded { Some(Flood::start(&scene.internet.ns)?) } else { None };
                let cost = scene.requests();
                flood.map(Flood::stop).transpose()?;
                let arrived = received(&scene.world.guard, "inet0")? - before;
                ensure!(!flooded || arrived > u64::from(FRAMES), "only {arrived} frames arrived");
                cost
            }),
        });
    }
    let samples = race(contenders, ROUNDS)?;
    let row = |against, goal| {
        Row::speed(&samples, "HTTP through WireGuard", "ours", against, goal, |ns| {
            format!("{:.0} requests/s", 1e9 / ns)
        })
    };
    Ok(vec![row("bare XDP", Goal::AtLeast(0.95))?, row("nft alone", Goal::None)?, row("no flood", Goal::None)?])
}

/// The least that keeps the port closed and lets the tunnel through: it looks where the port is in most packets.
fn drop_at_fixed_offsets(host: &Netns) -> Result<(Program, Link)> {
    #[rustfmt::skip]
    let code: [Instruction; 13] = [
        i(0x61, 2, 1, 0, 0),       // r2 = start of the frame
        i(0x61, 3, 1, 4, 0),       // r3 = its end
        i(0xbf, 4, 2, 0, 0),
        i(0x07, 4, 0, 0, 38),
        i(0x2d, 4, 3, 6, 0),       // too short: pass
        i(0x71, 5, 2, 23, 0),
        i(0x55, 5, 0, 4, 6),       // not TCP over IPv4: pass
        i(0x69, 5, 2, 36, 0),
        i(0x55, 5, 0, 2, i32::from_le_bytes([0x2c, 0xaa, 0, 0])), // not to port 11434: pass
        i(0xb7, 0, 0, 0, 1),
        i(0x95, 0, 0, 0, 0),
        i(0xb7, 0, 0, 0, 2),
        i(0x95, 0, 0, 0, 0),
    ];
    host.enter(|| {
        let program = Program::load(Kind::Xdp, &code)?;
        let link = program.attach(if_nametoindex("inet0")?)?;
        Ok((program, link))
    })?
}

/// Frames to the guarded port, as many a second as a processor can drop, until it is stopped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Flood {
    fn start(from: &Netns) -> Result<Self> {
        let interface = from.enter(|| if_nametoindex("eth0"))??;
        let program = sender(from, interface, false)?;
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        // Threads inherit the namespace of the thread that starts them.
        let thread = from.enter(|| thread::spawn(move || flood(&program, &until)))?;
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| resume_unwind(panic)).context("the flood")
    }
}

fn flood(program: &Program, until: &AtomicBool) -> Result<()> {
    pin()?;
    let frame = Shape::Tcp4.frame(GUARDED);
    let mut next = Instant::now();
    while !until.load(Ordering::Relaxed) {
        program.send(&frame, FRAMES)?;
        // Who is behind goes on at once, and does not make up for it.
        next = (next + TICK).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
