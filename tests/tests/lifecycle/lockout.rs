//! No lock-out, and no lock-out check that opens the port: a name is no fact.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::claims::{answers_soon, attempts, silent};
use tests::guard::Guard;
use tests::listener::Listener;
use tests::netns::Netns;
use tests::process::Process;
use tests::topology::World;
use tests::{leftovers, probe, require, requires, wait};

use super::PORT;

const SOON: Duration = Duration::from_secs(20);
/// The system's, which every user may start.
const PYTHON: &str = "/usr/bin/python3";
/// Where somebody lets sshd listen.
const SSH: u16 = 2222;

/// A program called sshd that answers by HTTP: not sshd, and nobody could tell by its name.
fn sshd(ns: &Netns, folder: &Path, user: u32, port: u16) -> Result<Process> {
    let program = folder.join("sshd");
    if !program.exists() {
        // Not copied here: what other tests start meanwhile would hold it open for writing, and it could not be started.
        tests::netns::run(std::process::Command::new("cp").arg(fs::canonicalize(PYTHON)?).arg(&program))?;
    }
    let (user, port) = (user.to_string(), port.to_string());
    let identity = ["--reuid", &user, "--regid", &user, "--clear-groups", &program.display().to_string()];
    let served = ["-m", "http.server", "--bind", "0.0.0.0", &port];
    let mut process = ns.spawn("setpriv", &[&identity[..], &served].concat())?;
    let ready = || {
        ns.enter(|| std::net::TcpStream::connect(("127.0.0.1", port.parse().unwrap_or(0)))).is_ok_and(|one| one.is_ok())
    };
    let waited = wait::until("the program called sshd", SOON, ready);
    waited.map_err(|error| anyhow::anyhow!("{error}: {} {}", process.log(), process.is_running()))?;
    Ok(process)
}

/// A folder into which only root can put programs. It goes with the test.
struct Installed(PathBuf);

impl Installed {
    fn new() -> Result<Self> {
        let folder = Path::new("/run").join(leftovers::unique_name("sbin"));
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A user's, and root's from a folder where anybody may put programs, as a session's forwarding would be: the port is
/// closed, with a file and without.
#[test]
fn whoever_calls_himself_sshd_opens_nothing() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::file(PYTHON));
    for user in [0, 12345] {
        for policy in ["", "[[service]]\nname = \"ollama\"\nports = [11434]"] {
            let (world, folder) = (World::new()?, leftovers::folder()?);
            fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
            let internet = world.internet()?;
            let mut sshd = sshd(&world.guard, folder.path(), user, PORT)?;
            let guard = Guard::start(&world.guard, policy)?;
            for address in internet.guard.both() {
                let outcome = probe::http(&internet.ns, address, PORT)?;
                ensure!(!outcome.is_open(), "user {user}, {policy:?}: {outcome:?}");
            }
            for command in ["check", "prepare", "reload"] {
                let output = guard.command(&[command])?;
                ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
            }
            ensure!(sshd.is_running(), "{}", sshd.log());
        }
    }
    Ok(())
}

/// Really root's, and the only one: left open and told, and the rest of the policy stands.
#[test]
fn the_only_way_in_is_left_open_and_told() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::file(PYTHON));
    let (world, folder) = (World::new()?, Installed::new()?);
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let _sshd = sshd(&world.guard, &folder.0, 0, SSH)?;
    let policy = format!("[[service]]\nname = \"both\"\nports = [{PORT}, {SSH}]\n");
    let from = (&internet.ns, internet.guard.v4.into());
    let mut guard = Guard::prepare(&world.guard, &policy)?;
    guard.run()?;
    guard.process()?.logged("left OPEN", SOON)?;
    answers_soon(SSH, from)?;
    silent(&listener, PORT, &attempts([&internet]))?;
    let status =
        guard.status_when("the port to be told", |status| status["problems"].to_string().contains("left OPEN"))?;
    ensure!(status["enforcing"] == false && status["problems"].to_string().contains("2222"), "{status:#}");
    let check = guard.command(&["check"])?;
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    ensure!(check.status.success() && said.contains("left OPEN") && said.contains("insist = true"), "{said}");

    // It stays so over a restart, and nobody is shut out for a moment.
    guard.stop()?;
    guard.run()?;
    guard.process()?.logged(" enforcing ", SOON)?;
    answers_soon(SSH, from)?;

    // Whoever insists is believed.
    guard.configure(&format!("{policy}insist = true\n"))?;
    ensure!(guard.command(&["reload"])?.status.success(), "{}", guard.log());
    ensure!(!probe::http(from.0, from.1, SSH)?.is_open(), "{}", guard.log());
    guard.status_when("all to be enforced", |status| status["enforcing"] == true)?;

    // And one that listens elsewhere, too, locks nobody out.
    let _second = sshd(&world.guard, &folder.0, 0, 2022)?;
    guard.configure(&policy)?;
    ensure!(guard.command(&["reload"])?.status.success(), "{}", guard.log());
    guard.status_when("all to be enforced", |status| status["enforcing"] == true)?;
    ensure!(!probe::http(from.0, from.1, SSH)?.is_open(), "{}", guard.log());
    Ok(())
}
