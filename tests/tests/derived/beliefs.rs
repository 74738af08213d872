//! A port is closed on the word of those who hold its socket. Names and arguments are anybody's.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result, ensure};
use tests::claims::{answers, answers_soon};
use tests::guard::Guard;
use tests::netns::Netns;
use tests::pretend::{Pretender, USER, docker_proxy, home};
use tests::probe::{self, Outcome};
use tests::process::Process;
use tests::topology::World;
use tests::{require, requires};

/// Root's own service.
const ROOT: u16 = 8080;
/// A user's port that really leads there: once it is found, so was all that started before it.
const MARK: u16 = 9090;

/// With root's service on all addresses of IPv4, what `start` starts closes it not. (`start` is given a folder of the
/// user's.)
fn root_s_port_stays_open(start: impl FnOnce(&World, &str) -> Result<Vec<Process>>) -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    require!(requires::tool("python3"), requires::tool("setpriv"));
    let (world, home) = (World::new()?, home()?);
    let internet = world.internet()?;
    let everybody = format!("0.0.0.0|{ROOT}");
    let _service = Pretender { name: "web", listens: &everybody, ..Pretender::default() }.start(&world.guard)?;
    let stranger = (&internet.ns, internet.guard.v4.into());
    answers_soon(ROOT, stranger)?;
    let guard = Guard::start(&world.guard, "")?;
    let _pretenders = start(&world, home.path().to_str().context("a path that is no text")?)?;
    let (own, arguments) = (format!("0.0.0.0|{MARK}"), docker_proxy(MARK));
    let arguments = arguments.each_ref().map(String::as_str);
    let mark =
        Pretender { name: "docker-proxy", user: USER, listens: &own, arguments: &arguments, ..Pretender::default() };
    let _mark = mark.start(&world.guard)?;
    // Engines come and go by events that this one makes none of: a link does.
    world.guard.ip("link add mark0 type veth peer name mark1")?;
    let found = |port: u16| move |row: &serde_json::Value| row["port"] == port;
    let status = guard.status_when("a user's own proxy", |status| {
        status["derived"].as_array().into_iter().flatten().any(found(MARK))
    })?;
    let rows = status["derived"].as_array().into_iter().flatten();
    let closes_it = |row: &&serde_json::Value| row["port"] == ROOT && row["addresses"].to_string().contains("0.0.0.0");
    ensure!(!rows.into_iter().any(|row| closes_it(&row)), "{status:#}");
    ensure!(probe::tcp(&internet.ns, internet.guard.v4, MARK)? == Outcome::Silent, "his own is open");
    answers(ROOT, &[stranger])
}

fn says(name: &str, listens: &str, ns: &Netns) -> Result<Process> {
    let arguments = docker_proxy(ROOT);
    let mut arguments = arguments.each_ref().map(String::as_str).to_vec();
    // What pasta and passt say, in the same line.
    arguments.extend(["-t", "8080:11434"]);
    Pretender { name, user: USER, listens, arguments: &arguments, ..Pretender::default() }.start(ns)
}

#[test]
fn not_for_a_name() -> Result<()> {
    root_s_port_stays_open(|world, _| {
        ["docker-proxy", "rootlesskit-doc", "pasta", "passt.avx2"]
            .map(|name| says(name, "", &world.guard))
            .into_iter()
            .collect()
    })
}

#[test]
fn not_for_a_socket_beside_it() -> Result<()> {
    root_s_port_stays_open(|world, _| {
        [("docker-proxy", "::1|8080"), ("docker-proxy", "127.0.0.2|8080"), ("pasta", "2001:db8:1::1|8080")]
            .map(|(name, listens)| says(name, listens, &world.guard))
            .into_iter()
            .collect()
    })
}

#[test]
fn not_for_a_socket_in_another_namespace() -> Result<()> {
    let other = Netns::new("other")?;
    root_s_port_stays_open(|_, _| {
        ["docker-proxy", "pasta"]
            .map(|name| says(name, if name == "pasta" { "::|8080" } else { "0.0.0.0|8080" }, &other))
            .into_iter()
            .collect()
    })
}

/// It is root in effect, and its name and arguments are the user's.
#[test]
fn not_for_a_setuid_program() -> Result<()> {
    const RUN: &str = "import os, pty, sys, time\npid, fd = pty.fork()\nif pid == 0: os.execv(sys.argv[1], sys.argv[2:])\n\
                       time.sleep(600)";
    require!(requires::file("/usr/bin/su"));
    root_s_port_stays_open(|world, home| {
        let proxy = format!("{home}/docker-proxy");
        symlink("/usr/bin/su", &proxy)?;
        let (user, group) = (format!("--reuid={USER}"), format!("--regid={USER}"));
        let own = [user.as_str(), &group, "--clear-groups", "python3", "-c", RUN, &proxy, "docker-proxy", "--", "root"];
        let says = ["-host-port=8080", "-container-ip=1.2.3.4", "-container-port=11434"];
        Ok(vec![world.guard.spawn("setpriv", &[&own[..], &says].concat())?])
    })
}

/// Engines of his own say that root's port leads there, and one names a folder in which it keeps its containers.
#[test]
fn not_for_an_engine_of_his_own() -> Result<()> {
    root_s_port_stays_open(|world, home| {
        let folder = format!("{home}/containers/4f");
        fs::create_dir_all(&folder)?;
        fs::write(format!("{folder}/hostconfig.json"), r#"{"PortBindings":{"11434/tcp":[{"HostPort":"8080"}]}}"#)?;
        let body = format!(
            r#"[{{"Id":"4e","Names":["/x"],"State":"running","DockerRootDir":"{home}","Ports":[{{"IP":"0.0.0.0",
                "PrivatePort":11434,"PublicPort":8080,"Type":"tcp"}}]}},{{"Id":"4f","Names":["/y"],"State":"created"}}]"#
        );
        let published = format!("HTTP/1.0 200 OK\r\n\r\n{body}");
        let forwards =
            r#"{"entries":[{"id":1,"proto":"tcp","host_addr":"0.0.0.0","host_port":8080,"guest_port":11434}]}"#;
        let (docker, slirp) = (format!("{home}/docker.sock"), format!("{home}/slirp.sock"));
        let host = format!("unix://{docker}");
        let dockerd = Pretender { socket: Some((&docker, &published)), arguments: &["-H", &host], ..called("dockerd") };
        let slirp4netns = Pretender {
            socket: Some((&slirp, forwards)),
            arguments: &["--api-socket", &slirp],
            ..called("slirp4netns")
        };
        Ok(vec![dockerd.start(&world.guard)?, slirp4netns.start(&world.guard)?])
    })
}

fn called(name: &str) -> Pretender<'_> {
    Pretender { name, user: USER, ..Pretender::default() }
}

/// The daemon may open what its user may not: nobody has it talk to another's socket on his behalf.
#[test]
fn nobody_is_asked_on_another_s_word() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    require!(requires::tool("python3"), requires::tool("setpriv"));
    let (world, home, vault) = (World::new()?, home()?, tests::leftovers::folder()?);
    let _internet = world.internet()?;
    let at = |name: &str| vault.path().join(name).display().to_string();
    // Root's; one of his that leads to root's; and his own, to see that he is asked at all.
    let listen = |name: &str| std::os::unix::net::UnixListener::bind(at(name));
    let (secret, linked) = (listen("secret")?, listen("linked")?);
    let link = home.path().join("link").display().to_string();
    symlink(at("linked"), &link)?;
    let own = home.path().join("own").display().to_string();
    let his = |path| Pretender { arguments: path, ..called("slirp4netns") };
    let secret_path = at("secret");
    let arguments = [["--api-socket", &secret_path], ["--api-socket", &link], ["--api-socket", &own]];
    let _first = his(&arguments[0]).start(&world.guard)?;
    let _second = his(&arguments[1]).start(&world.guard)?;
    let answer = r#"{"entries":[{"id":1,"proto":"tcp","host_addr":"0.0.0.0","host_port":9090,"guest_port":11434}]}"#;
    let third = Pretender { listens: "0.0.0.0|9090", socket: Some((&own, answer)), ..his(&arguments[2]) };
    let _third = third.start(&world.guard)?;
    let guard = Guard::start(&world.guard, "")?;
    guard.status_when("his own socket's word", |status| status["derived"][0]["port"] == MARK)?;
    for socket in [secret, linked] {
        socket.set_nonblocking(true)?;
        ensure!(socket.accept().is_err(), "a user had the daemon connect to root's socket");
    }
    Ok(())
}
