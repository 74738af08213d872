//! A daemon and a client that talk over a real socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::observe::samples;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("og-control-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A loop that does no reloads.
fn nobody() -> mpsc::Sender<oneshot::Sender<Result<(), String>>> {
    mpsc::channel(1).0
}

#[test]
fn a_reload_is_answered_once_it_is_done() {
    let run = folder("reload");
    let (ask, mut asked) = mpsc::channel::<oneshot::Sender<Result<(), String>>>(1);
    let _control = Control::start(&run, Box::new(|| Ok(samples::day())), ask);
    let daemon = thread::spawn(move || {
        asked.blocking_recv().unwrap().send(Ok(())).unwrap();
        asked.blocking_recv().unwrap().send(Err("line 7".to_owned())).unwrap();
    });
    reload(&run).unwrap();
    assert_eq!(reload(&run).unwrap_err().to_string(), "the daemon says: line 7");
    daemon.join().unwrap();
    fs::remove_dir_all(run).unwrap();
}

/// Answers one question with `text`.
fn imposter(run: &Path, text: &'static str) -> thread::JoinHandle<()> {
    let listener = UnixListener::bind(path(run)).unwrap();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.read_exact(&mut [0; SNAPSHOT.len()]).unwrap();
        client.write_all(text.as_bytes()).unwrap();
    })
}

#[test]
fn the_snapshot_arrives_as_it_was_read() {
    let run = folder("whole");
    fs::write(path(&run), "left by a daemon that was killed").unwrap();
    let control = Control::start(&run, Box::new(|| Ok(samples::day())), nobody());
    let mode = fs::metadata(path(&run)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(ask(&run).unwrap(), samples::day());
    drop(control);
    assert!(matches!(ask(&run), Err(AskError::NotRunning { .. })));
    fs::remove_dir_all(run).unwrap();
}

/// Thirty clients that never say a word are hung up on after five seconds each, sixteen at a time.
#[test]
fn a_silent_crowd_keeps_nobody_waiting_for_long() {
    let run = folder("crowd");
    let _control = Control::start(&run, Box::new(|| Ok(samples::day())), nobody());
    let mut crowd: Vec<_> = (0..30).map(|_| UnixStream::connect(path(&run)).unwrap()).collect();
    let start = Instant::now();
    assert!(ask(&run).or_else(|_| ask(&run)).is_ok());
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(crowd[0].read(&mut [0]).unwrap(), 0, "the first of the crowd was left");
    fs::remove_dir_all(run).unwrap();
}

#[test]
fn a_daemon_that_cannot_read_says_why() {
    let run = folder("refused");
    let _control = Control::start(&run, Box::new(|| anyhow::bail!("the kernel says no")), nobody());
    assert_eq!(ask(&run).unwrap_err().to_string(), "the daemon says: the kernel says no");
    fs::remove_dir_all(run).unwrap();
}

#[test]
fn another_version_is_told_from_nonsense() {
    for (name, text, said) in [
        ("old", r#"{"version":"0.0.1","content":{"Ok":{"mode":"?"}}}"#, "the daemon that runs is ollama-guard 0.0.1"),
        ("nonsense", "{", "did not answer"),
    ] {
        let run = folder(name);
        let daemon = imposter(&run, text);
        let error = ask(&run).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        daemon.join().unwrap();
        fs::remove_dir_all(run).unwrap();
    }
}
