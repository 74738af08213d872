//! What goes wrong is said: the thing by its name, the next step, the right exit code, and nothing that stood is lost.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::unistd::geteuid;
use tests::guard::{Guard, binary};
use tests::layers::Layers;
use tests::netns::Netns;
use tests::topology::World;
use tests::{require, requires};

/// Some user who is not root: nobody.
const NOBODY: u32 = 65534;

/// The program ended with this code, and said all of this on its standard error.
fn said(output: &Output, code: i32, words: &[&str]) -> Result<()> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "{}, not {code}: {error}", output.status);
    for word in words {
        ensure!(error.contains(word), "{word:?} is missing in: {error}");
    }
    let doubled = error.lines().find(|line| line.matches("os error").count() > 1);
    ensure!(doubled.is_none(), "says its cause twice: {error}");
    ensure!(!error.contains("panicked"), "{error}");
    Ok(())
}

/// The policy, with these directories.
fn configure(guard: &Guard<'_>, bpf: &Path, run: &Path) -> Result<()> {
    let text = format!("seatbelt = false\n[paths]\nbpf = \"{}\"\nrun = \"{}\"\n", bpf.display(), run.display());
    Ok(fs::write(guard.config(), text)?)
}

/// A guard that was not started, and the run directory it would use.
fn prepared(ns: &Netns) -> Result<(Guard<'_>, std::path::PathBuf)> {
    let guard = Guard::prepare(ns, &Layers::Tc.policy(""))?;
    let run = guard.config().with_file_name("run");
    Ok((guard, run))
}

#[test]
fn nobody_is_told_to_be_root() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (guard, run) = prepared(&world.guard)?;
    fs::create_dir(&run)?;
    for path in [guard.config().parent().unwrap_or(Path::new("/")), &run] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    }
    let (config, program) = (guard.config(), guard.config().with_file_name("ollama-guard"));
    fs::copy(binary(), &program)?;
    let (config, program) = (config.display().to_string(), program.display().to_string());
    let as_nobody = |privileges: &[&str], command: &str| {
        let arguments = [privileges, &["--", &program, command, "--config", &config]].concat();
        world.guard.output("setpriv", &arguments)
    };
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    said(&as_nobody(&user, "run")?, 1, &["root"])?;
    // systemd mounts the BPF file system for root alone; where others may look, there is nothing to see.
    let is_open = fs::metadata("/sys/fs/bpf")?.permissions().mode() & 0o001 != 0;
    let (code, words): (_, &[_]) = if is_open { (0, &[]) } else { (1, &["root"]) };
    said(&as_nobody(&user, "down")?, code, words)?;
    said(&as_nobody(&user, "check")?, 0, &[])?;
    // Root without the capabilities, as in a container.
    let bounded = ["--bounding-set=-bpf,-sys_admin,-perfmon,-net_admin", "--inh-caps=-all"];
    said(&as_nobody(&bounded, "run")?, 1, &["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"])
}

#[test]
fn a_place_without_bpf_file_system_is_named() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (guard, run) = prepared(&world.guard)?;
    for bpf in [guard.config().with_file_name("pins"), "/nowhere/at/all".into()] {
        configure(&guard, &bpf, &run)?;
        let words = [&*bpf.display().to_string(), "mount -t bpf bpf /sys/fs/bpf"];
        said(&guard.command(&["run"])?, 1, &words)?;
        assert!(!bpf.exists());
    }
    Ok(())
}

#[test]
fn a_squatted_pin_directory_is_refused() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let (guard, _run) = prepared(&world.guard)?;
    let pins = guard.pins();
    let name = pins.display().to_string();
    fs::create_dir(pins)?;

    fs::set_permissions(pins, fs::Permissions::from_mode(0o777))?;
    said(&guard.command(&["run"])?, 1, &[&name, "mode 777", "rm -r"])?;
    fs::set_permissions(pins, fs::Permissions::from_mode(0o700))?;

    chown(pins, Some(NOBODY), None)?;
    said(&guard.command(&["run"])?, 1, &[&name, "belongs to user 65534"])?;
    said(&guard.command(&["down"])?, 1, &[&name])?;
    assert!(pins.exists(), "what is not ours is not removed");
    chown(pins, Some(geteuid().as_raw()), None)?;

    // A file cannot be made on a BPF file system, but a link can, to a place that is somebody else's.
    fs::remove_dir(pins)?;
    std::os::unix::fs::symlink("/sys/fs/bpf", pins)?;
    let refused = said(&guard.command(&["run"])?, 1, &[&name, "not a directory"]);
    fs::remove_file(pins)?;
    refused
}

#[test]
fn pins_of_another_version_are_told_and_go_with_down() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _internet = world.internet()?;
    let mut guard = Guard::start(&world.guard, &Layers::Tc.policy(""))?;
    fs::create_dir(guard.pins().join("v0"))?;
    let status = guard.status()?;
    assert_eq!(status["enforcing"], true);
    let problems = status["problems"].to_string();
    assert!(problems.contains("another version") && problems.contains("v0"), "{problems}");
    guard.down()?;
    assert!(!guard.pins().exists());
    Ok(())
}

#[test]
fn a_first_start_that_was_cut_short_is_no_error() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _internet = world.internet()?;
    let (mut guard, _run) = prepared(&world.guard)?;
    let version = format!("v{}", ollama_guard_common::abi::ABI_VERSION);
    let below = ["maps", "programs", "links"].map(|name| format!("{version}/{name}"));
    for directory in [&[String::new(), version][..], &below].concat() {
        fs::create_dir(guard.pins().join(&directory))?;
        fs::set_permissions(guard.pins().join(&directory), fs::Permissions::from_mode(0o700))?;
    }
    said(&guard.command(&["status", "--quiet"])?, 3, &[])?;
    said(&guard.command(&["sources"])?, 0, &[])?;
    guard.run()?;
    guard.enforces()
}

#[test]
fn a_faulty_configuration_is_shown_with_its_place() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _internet = world.internet()?;
    let guard = Guard::start(&world.guard, &Layers::Tc.policy(""))?;
    fs::write(guard.config(), fs::read_to_string(guard.config())?.replace("seatbelt", "seatblet"))?;
    let place = format!("{}:2:1", guard.config().display());
    for command in ["run", "check"] {
        said(&guard.command(&[command])?, 2, &[&place, "seatblet", "did you mean"])?;
    }
    // What is in force is not lost sight of.
    said(&guard.command(&["status", "--quiet"])?, 0, &[&place])?;
    let missing = world.guard.output(&binary().display().to_string(), &["run", "--config", "/nowhere/config.toml"])?;
    said(&missing, 2, &["/nowhere/config.toml"])
}

#[test]
fn an_interface_that_is_not_there_is_no_error() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let policy = "[interfaces]\ntrusted = [\"lo\", \"nebula1\"]\n[interfaces.attach]\neth7 = \"tc\"\n\
                  [[allow]]\nsource = \"192.0.2.1\"\ninterface = \"eth8\"";
    let guard = Guard::start(&world.guard, &Layers::Tc.policy(policy))?;
    let row = guard.interface("nebula1")?;
    assert!(row["index"].is_null() && row["hook_reason"] == "not present", "{row:#}");
    Ok(())
}

/// The port is closed all the same: without the directory there is no lock, and no socket to ask at.
#[test]
fn a_run_directory_that_cannot_be_written_is_named() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _internet = world.internet()?;
    let (mut guard, _run) = prepared(&world.guard)?;
    // Below a file, and in a file system that nobody can write, be it root.
    for run in [guard.config().join("run"), "/proc/ollama-guard".into()] {
        configure(&guard, guard.pins(), &run)?;
        guard.run()?;
        guard.process()?.logged(&run.display().to_string(), Duration::from_secs(10))?;
        guard.process()?.logged(" enforcing ", Duration::from_secs(20))?;
        ensure!(guard.interface("inet0")?["hook"] == "tcx", "{}", guard.log());
        guard.stop()?;
    }
    Ok(())
}

#[test]
fn down_ends_a_daemon_that_cannot_be_asked_twice() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    let world = World::new()?;
    let _internet = world.internet()?;
    let mut guard = Guard::start(&world.guard, &Layers::Tc.policy(""))?;
    // The configuration broke since it was started.
    fs::write(guard.config(), format!("no toml {}", fs::read_to_string(guard.config())?))?;
    guard.down()?;
    guard.process()?.exited(Duration::from_secs(10))?;
    assert!(!guard.pins().exists());
    Ok(())
}
