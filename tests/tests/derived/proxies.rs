//! Ports that lead to a guarded one through a proxy stay closed while their containers come, go and come back; and
//! each kind of proxy, the real one, is found.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tests::claims::{Attempt, answers, answers_soon};
use tests::docker::{self, Docker};
use tests::guard::Guard;
use tests::hammer::Hammer;
use tests::netns::{Netns, run};
use tests::podman::{self, Podman};
use tests::probe::{self, Outcome};
use tests::process::Process;
use tests::topology::World;
use tests::{leftovers, require, requires, wait};

/// Docker publishes the container's 11434 here.
const REMAPPED: u16 = 8080;
/// How many restarts.
const RESTARTS: &str = "OLLAMA_GUARD_DOCKER_RESTARTS";

fn count(variable: &str, default: u16) -> u16 {
    env::var(variable).ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

/// docker-proxy goes and comes back with each restart, and for IPv6 it is the only thing that answers.
#[test]
fn a_restarted_container_is_closed_all_the_while() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), docker::available());
    let world = World::new()?;
    let internet = world.internet()?;
    let docker = Docker::start(&world.guard, &[])?;
    docker.serve("ollama", &["-p", "8080:11434", "--stop-timeout", "0"])?;
    let guard = Guard::start(&world.guard, "")?;
    guard.status_when("the derived port", |status| status["derived"][0]["container"] == "ollama")?;
    let hammer = Hammer::start(&internet.ns, internet.guard.both().map(|address| (address, REMAPPED)))?;
    for nth in 0..count(RESTARTS, 5) {
        docker.command(&["restart", "--time", "0", "ollama"])?;
        ensure!(hammer.opened() == 0, "{} connections in restart {nth}\n{}", hammer.opened(), guard.log());
    }
    println!("{} connections tried, {} opened", hammer.tried(), hammer.opened());
    Ok(())
}

/// What is published for the first time is closed before docker-proxy listens: from the moment the container is made.
#[test]
fn a_new_container_is_closed_from_its_first_moment() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), docker::available());
    let world = World::new()?;
    let internet = world.internet()?;
    let docker = Docker::start(&world.guard, &[])?;
    let guard = Guard::start(&world.guard, "")?;
    for port in (REMAPPED..).take(count(RESTARTS, 3).into()) {
        let hammer = Hammer::start(&internet.ns, internet.guard.both().map(|address| (address, port)))?;
        let (published, name) = (format!("{port}:11434"), format!("ollama-{port}"));
        let serve = ["busybox", "httpd", "-f", "-p", "11434"];
        docker.command(&[&["create", "--name", &name, "-p", &published, "box"][..], &serve].concat())?;
        let row = |present: bool| {
            guard.status_when(&format!("the derived port, present: {present}"), move |status| {
                let rows = status["derived"].as_array().into_iter().flatten();
                rows.into_iter().any(|row| row["port"] == port && row["present"] == present)
            })
        };
        row(false)?;
        docker.command(&["start", &name])?;
        row(true)?;
        docker.command(&["rm", "-f", &name])?;
        ensure!(hammer.opened() == 0, "{} connections to {port}\n{}", hammer.opened(), guard.log());
    }
    // What nftables dropped before the programs knew of a port found no way around them.
    let status = guard.status()?;
    ensure!(!status["problems"].to_string().contains("nftables caught"), "{status:#}");
    Ok(())
}

/// A server on 11434 in a namespace of its own, and a proxy to it that `start` makes in the guarded one. A neighbor
/// reaches it before the guard starts, and not after; `through` is what status calls it.
fn proxy(through: &str, start: impl FnOnce(&World) -> Result<Vec<Process>>) -> Result<()> {
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let _proxy = start(&world)?;
    let stranger: Attempt<'_> = (&internet.ns, internet.guard.v4.into());
    let ask = |(from, address): Attempt<'_>| probe::tcp(from, address, REMAPPED);
    wait::until("the proxy to answer", Duration::from_secs(20), || {
        ask(stranger).is_ok_and(|outcome| outcome.is_open())
    })?;

    let guard = Guard::start(&world.guard, "[interfaces]\ntrusted = [\"lo\", \"lan0\"]")?;
    let status = guard.status_when("the derived port", |status| status["derived"][0]["port"] == REMAPPED)?;
    let row = &status["derived"][0];
    ensure!(row["through"] == through && row["guarded"] == true && row["service"] == "ollama", "{status:#}");
    ensure!(ask(stranger)? == Outcome::Silent, "a stranger reaches the port behind {through}: {}", guard.log());
    ensure!(ask((&lan.ns, lan.guard.v4.into()))?.is_open(), "the trusted side does not reach it");
    ensure!(ask((&world.guard, Ipv4Addr::LOCALHOST.into()))?.is_open(), "nor does loopback");
    Ok(())
}

/// Answers on 11434, whoever it is started by.
const SERVER: [&str; 4] = ["busybox", "httpd", "-f", "-p"];

#[test]
fn what_pasta_forwards_is_closed() -> Result<()> {
    require!(
        requires::root(),
        requires::bpffs(),
        requires::guard(),
        requires::tool("pasta"),
        requires::tool("busybox")
    );
    proxy("pasta", |world| {
        // Without `--runas` it becomes nobody, who may not open the tunnel device.
        let options = ["--foreground", "--runas", "0:0", "--config-net", "-t", "8080:11434", "--"];
        let command = [&options[..], &SERVER, &["11434"]].concat();
        Ok(vec![world.guard.spawn("pasta", &command)?])
    })
}

#[test]
fn what_slirp4netns_forwards_is_closed() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    require!(requires::tool("slirp4netns"), requires::tool("busybox"), requires::tool("python3"));
    let (inside, folder) = (Netns::new("inside")?, leftovers::folder()?);
    let socket = folder.path().join("api.sock").display().to_string();
    proxy("slirp4netns", |world| {
        let server = inside.spawn("busybox", &["httpd", "-f", "-p", "11434"])?;
        let namespace = inside.path().display().to_string();
        let options = ["--configure", "--netns-type=path", "--api-socket", &socket, &namespace, "tap0"];
        let mut slirp = world.guard.spawn("slirp4netns", &options)?;
        wait::until("slirp4netns to listen", Duration::from_secs(20), || {
            !slirp.is_running() || fs::metadata(&socket).is_ok()
        })?;
        let ask = "import socket, sys\ns = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.send(sys.argv[2].encode())\n\
                   s.shutdown(socket.SHUT_WR); print(s.recv(4096).decode())";
        let forward = r#"{"execute": "add_hostfwd", "arguments": {"proto": "tcp", "host_addr": "0.0.0.0",
            "host_port": 8080, "guest_port": 11434}}"#;
        let answer = run(Command::new("python3").args(["-c", ask, &socket, forward]))?;
        ensure!(answer.contains("id"), "{answer}: {}", slirp.log());
        Ok(vec![server, slirp])
    })
}

/// A user's own Podman: `port_handler` is who listens. Without Podman's service rootlessport does not say where it leads;
/// slirp4netns does.
fn rootless_podman(port_handler: &str, through: &str) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), podman::available());
    let world = World::new()?;
    let (internet, lan) = (world.internet()?, world.lan()?);
    let podman = Podman::new(&world.guard)?;
    podman.serve("ollama", &["--network", &format!("slirp4netns:port_handler={port_handler}"), "-p", "8080:11434"])?;
    let strangers = [internet.guard.v4.into()].map(|address| (&internet.ns, address));
    answers_soon(REMAPPED, strangers[0])?;
    answers(REMAPPED, &strangers)?;

    let _service = podman.service()?;
    let mut guard = Guard::prepare(&world.guard, "[interfaces]\ntrusted = [\"lo\", \"lan0\"]")?;
    guard.wrap(&podman.wrapper().each_ref().map(String::as_str));
    guard.run()?;
    guard.enforces()?;
    let status = guard.status_when("the derived port", |status| status["derived"][0]["port"] == REMAPPED)?;
    let row = &status["derived"][0];
    ensure!(row["through"] == through && row["guarded"] == true && row["service"] == "ollama", "{status:#}");
    ensure!(status["problems"] == json!([]), "{status:#}");
    for (from, address) in strangers {
        ensure!(probe::tcp(from, address, REMAPPED)? == Outcome::Silent, "a stranger reaches it: {}", guard.log());
    }
    answers(REMAPPED, &[(&lan.ns, lan.guard.v4.into()), (&world.guard, Ipv4Addr::LOCALHOST.into())])
}

#[test]
fn what_rootlessport_forwards_for_podman_is_closed() -> Result<()> {
    rootless_podman("rootlesskit", "published")
}

#[test]
fn what_slirp4netns_forwards_for_podman_is_closed() -> Result<()> {
    rootless_podman("slirp4netns", "slirp4netns")
}

/// Podman's, before version 5. It takes its orders from standard input, and here is no Podman to ask: that it listens is
/// all that can be said.
#[test]
fn a_proxy_that_does_not_say_where_it_leads_is_reported() -> Result<()> {
    const PROGRAM: &str = "/usr/lib/podman/rootlessport";
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::file(PROGRAM));
    let (world, folder) = (World::new()?, leftovers::folder()?);
    let inside = Netns::new("inside")?;
    let orders = json!({
        "Mappings": [{"host_ip": "", "container_port": 11434, "host_port": REMAPPED, "range": 1, "protocol": "tcp"}],
        "NetNSPath": inside.path(), "TmpDir": folder.path(), "SocketDir": folder.path(),
        "ExitFD": 3, "ReadyFD": 4, "ChildIP": "", "ContainerID": "inside",
    });
    fs::write(folder.path().join("orders"), orders.to_string())?;
    let script = format!("cd \"$0\" && mkfifo exit && exec {PROGRAM} <orders 3<>exit 4>ready");
    let _proxy = world.guard.spawn("sh", &["-c", &script, &folder.path().display().to_string()])?;
    wait::until("rootlessport to listen", Duration::from_secs(20), || {
        probe::tcp(&world.guard, Ipv4Addr::LOCALHOST, REMAPPED).is_ok_and(|outcome| outcome.is_open())
    })?;

    let guard = Guard::start(&world.guard, "")?;
    let status = guard.status_when("the proxy to be told", |status| status["problems"][0]["subject"] == "tcp 8080")?;
    let problem = &status["problems"][0];
    ensure!(problem["subject"] == "tcp 8080" && problem["severity"] == "warning", "{status:#}");
    ensure!(problem["next_step"].to_string().contains("let Podman's service answer"), "{status:#}");
    ensure!(status["enforcing"] == true && status["derived"] == json!([]), "{status:#}");
    Ok(())
}
