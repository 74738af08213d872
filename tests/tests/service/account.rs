//! The daemon runs as a user of its own with three capabilities, and members of its group may ask it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::guard::{Guard, binary};
use tests::layers::Layers;
use tests::process::Process;
use tests::topology::World;
use tests::{require, requires};

/// The service's user and group; nobody else's on any machine that runs tests.
const SERVICE: &str = "64111";
const ID: u32 = 64111;
/// As in `dist/systemd/ollama-guard.service`.
const CAPABILITIES: &str = "-all,+bpf,+net_admin,+perfmon";
const START: Duration = Duration::from_secs(30);

/// A guard whose daemon is the service's user's.
struct Service<'a> {
    world: &'a World,
    guard: Guard<'a>,
    program: String,
    daemon: Option<Process>,
}

impl<'a> Service<'a> {
    fn start(world: &'a World, layers: Layers) -> Result<Self> {
        let guard = Guard::prepare(&world.guard, &layers.policy(""))?;
        let folder = guard.config().parent().context("a configuration without a folder")?.to_owned();
        let program = folder.join("ollama-guard");
        fs::copy(binary(), &program)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        fs::create_dir(folder.join("run"))?;
        // As `prepare` does it.
        DirBuilder::new().mode(0o700).create(guard.pins())?;
        for directory in [guard.pins(), &folder.join("run")] {
            chown(directory, Some(ID), Some(ID))?;
        }
        let mut service = Self { world, guard, program: program.display().to_string(), daemon: None };
        let account = [&format!("--reuid={SERVICE}"), &format!("--regid={SERVICE}"), "--clear-groups"];
        let rights = [
            &format!("--inh-caps={CAPABILITIES}"),
            &format!("--ambient-caps={CAPABILITIES}"),
            &format!("--bounding-set={CAPABILITIES}"),
            "--no-new-privs",
        ];
        let privileges = [&account[..], &rights[..]].concat();
        // The BPF file system is root's alone: the daemon is shown its part of it, as the unit does it.
        let script = format!(
            "mkdir {there} && mount --bind {pins} {there} && mount -t tmpfs -o mode=755 tmpfs /sys/fs/bpf && \
             mkdir {pins} && mount --bind {there} {pins} && exec setpriv \"$@\"",
            there = folder.join("there").display(),
            pins = service.guard.pins().display()
        );
        let mut arguments = vec!["--mount", "--propagation=private", "sh", "-c", &script, "sh"];
        let own = service.arguments(&privileges, &["run"]);
        arguments.extend(own.iter().map(String::as_str));
        let mut daemon = world.guard.spawn("unshare", &arguments)?;
        daemon.logged(" enforcing ", START)?;
        service.daemon = Some(daemon);
        Ok(service)
    }

    fn arguments(&self, privileges: &[&str], command: &[&str]) -> Vec<String> {
        let config = self.guard.config().display().to_string();
        [privileges, &["--", &self.program], command, &["--config", &config]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    /// A command of somebody with this user, group and further groups.
    fn ask(&self, identity: &[&str], command: &[&str]) -> Result<Output> {
        let arguments = self.arguments(identity, command);
        self.world.guard.output("setpriv", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

const MEMBER: [&str; 3] = ["--reuid=65534", "--regid=65534", "--groups=64111"];
const STRANGER: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn enforces_without_root_and_answers_members_of_its_group() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("setpriv"));
    let world = World::new()?;
    let internet = world.internet()?;
    let mut service = Service::start(&world, Layers::Both)?;
    for entry in fs::read_dir(service.guard.pins())? {
        let found = entry?.metadata()?;
        assert_eq!((found.uid(), found.mode() & 0o777), (ID, 0o700));
    }
    let syn = std::net::SocketAddr::new(internet.guard.v4.into(), 11434);
    let refused = internet.ns.enter(|| std::net::TcpStream::connect_timeout(&syn, Duration::from_millis(300)))?;
    assert!(refused.is_err(), "a stranger got through");

    let status = service.ask(&MEMBER, &["status", "--json"])?;
    let told: Value = serde_json::from_slice(&status.stdout).with_context(|| error(&status))?;
    assert_eq!((status.status.code(), &told["enforcing"]), (Some(0), &Value::Bool(true)), "{told:#}");
    let row = |status: &Value| {
        let rows = status["interfaces"].as_array().into_iter().flatten();
        rows.into_iter().find(|row| row["name"] == "inet0").map(|row| row["dropped_packets"].clone())
    };
    let root = service.guard.status()?;
    assert!(row(&told).is_some_and(|count| count.as_u64() > Some(0)), "{told:#}");
    assert_eq!(row(&told), row(&root), "what the daemon says is what root reads");
    for command in ["sources", "metrics"] {
        let output = service.ask(&MEMBER, &[command])?;
        ensure!(output.status.success() && !output.stdout.is_empty(), "{command}: {}", error(&output));
    }

    let stranger = service.ask(&STRANGER, &["status"])?;
    assert_eq!(stranger.status.code(), Some(1), "{}", error(&stranger));
    for word in ["control.sock", "group ollama-guard", "sudo"] {
        assert!(error(&stranger).contains(word), "{}", error(&stranger));
    }

    // Enforcement does not end with the daemon, and root still reads it; others are told that they cannot.
    service.daemon.take().context("no daemon")?.terminate(START)?;
    assert_eq!(service.guard.command(&["status", "--quiet"])?.status.code(), Some(0));
    let member = service.ask(&MEMBER, &["status"])?;
    assert_eq!(member.status.code(), Some(1));
    assert!(error(&member).contains("no daemon answers") && error(&member).contains("sudo"), "{}", error(&member));
    Ok(())
}

/// What root made by hand, the service takes over; root hands it to the service's user if there is one.
#[test]
fn takes_over_what_root_left() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("setpriv"));
    let world = World::new()?;
    let _internet = world.internet()?;
    let mut guard = Guard::start(&world.guard, &Layers::Both.policy(""))?;
    guard.stop()?;
    let prepared = guard.command(&["prepare"])?;
    ensure!(prepared.status.success(), "{}", error(&prepared));
    guard.configure("mode = \"nonsense\"")?;
    assert_eq!(guard.command(&["prepare"])?.status.code(), Some(2));
    guard.configure(&Layers::Both.policy(""))?;
    // Pins of a stranger are handed to nobody.
    chown(guard.pins(), Some(ID), Some(ID))?;
    let squatted = guard.command(&["prepare"])?;
    assert_eq!(squatted.status.code(), Some(0), "nftables does without them");
    assert!(error(&squatted).contains("belongs to user 64111"), "{}", error(&squatted));
    chown(guard.pins(), Some(0), Some(0))?;
    Ok(())
}
