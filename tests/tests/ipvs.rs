//! A virtual service of IPVS is translated behind every hook that sees the port it ends at: the service's own port is closed,
//! at its address.

use anyhow::{Result, ensure};
use tests::claims::{answers, answers_soon};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::probe::{self, Outcome};
use tests::topology::World;
use tests::{require, requires};

fn available(world: &World) -> Result<(), String> {
    world.guard.run("ipvsadm", &["-L"]).map(drop).map_err(|error| format!("no IPVS here: {error:#}"))
}

fn a_virtual_service_is_closed(layers: Layers) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("ipvsadm"));
    let world = World::new()?;
    require!(available(&world));
    let (internet, container) = (world.internet()?, world.container()?);
    let _servers = [Listener::http(&container.ns, 11434)?, Listener::http(&container.ns, 80)?];
    let (v4, v6) = (internet.guard.v4, internet.guard.v6);
    let service = |port: u16, target: u16| -> Result<()> {
        for (place, server) in [
            (format!("{v4}:{port}"), format!("{}:{target}", container.own.v4)),
            (format!("[{v6}]:{port}"), format!("[{}]:{target}", container.own.v6)),
        ] {
            world.guard.run("ipvsadm", &["-A", "-t", &place, "-s", "rr"])?;
            world.guard.run("ipvsadm", &["-a", "-t", &place, "-r", &server, "-m"])?;
        }
        Ok(())
    };
    service(8080, 11434)?;
    service(8081, 80)?;
    world.guard.run("ipvsadm", &["-A", "-f", "7", "-s", "rr"])?;
    world.guard.run("ipvsadm", &["-a", "-f", "7", "-r", &format!("{}:11434", container.own.v4), "-m"])?;
    let strangers = internet.guard.both().map(|address| (&internet.ns, address));
    answers_soon(8080, strangers[0])?;
    answers(8080, &strangers)?;

    let guard = Guard::start(&world.guard, &layers.policy(""))?;
    let status = guard.status_when("the virtual service", |status| status["derived"][0]["through"] == "ipvs")?;
    ensure!(status["derived"][0]["addresses"] == serde_json::json!([v4, v6]), "{status:#}");
    ensure!(status["problems"].to_string().contains("packets with mark 7"), "{status:#}");
    for (from, address) in strangers {
        ensure!(probe::tcp(from, address, 8080)? == Outcome::Silent, "open at {address}");
    }
    answers(8081, &strangers)
}

macro_rules! in_arrangement {
    ($name:ident, $layers:ident) => {
        #[test]
        #[ignore = "needs IPVS, which the virtual machines have: cargo xtask test --vm"]
        fn $name() -> Result<()> {
            a_virtual_service_is_closed(Layers::$layers)
        }
    };
}

in_arrangement!(xdp, Xdp);
in_arrangement!(tc, Tc);
in_arrangement!(seatbelt, Seatbelt);
in_arrangement!(both, Both);
