//! The neighbor: a network namespace with a tap device, and a process in it that knocks without end.

use super::stand_in::{GUARDED, MACHINE, OPEN};
use crate::sh;
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

/// Of the namespace's name; the number of this process follows.
const PREFIX: &str = "og-boot-";

/// Somebody on the same wire as the machine. Dropping it ends the process and removes the namespace.
pub(super) struct Neighbour {
    namespace: String,
    process: Child,
    reader: Option<JoinHandle<()>>,
    tally: Arc<Mutex<Tally>>,
}

/// What has come of the knocks at the guarded port, and at the open one.
#[derive(Default)]
struct Tally {
    knocks: u64,
    answers: Vec<String>,
    open_connected: u64,
    /// Of the guarded port, once the package is being removed.
    removed: Option<Removed>,
}

#[derive(Default)]
struct Removed {
    knocks_before: u64,
    answers: u64,
}

/// All that the neighbor did.
pub(super) struct Attempts {
    pub(super) before_removal: u64,
    pub(super) answered_after: u64,
}

impl Neighbour {
    pub(super) fn move_in() -> Result<Self> {
        sweep();
        let namespace = format!("{PREFIX}{}", std::process::id());
        let ip = |line: &str| {
            let words = line.replace("NS", &namespace);
            let done = sh::succeeds(Command::new("ip").args(words.split(' ')));
            ensure!(done, "`ip {words}` failed");
            Ok(())
        };
        ip("netns add NS")?;
        let steps = [
            "-n NS link set lo up",
            "-n NS tuntap add tap0 mode tap",
            "-n NS address add 10.77.0.1/24 dev tap0",
            "-n NS address add fd77::1/64 dev tap0 nodad",
            "-n NS link set tap0 up",
        ];
        let started = steps.iter().try_for_each(|step| ip(step)).and_then(|()| {
            let mut command = inside(&namespace, &std::env::current_exe()?.to_string_lossy());
            command.arg("knock").args(MACHINE.map(|address| address.to_string()));
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start the neighbour")
        });
        let mut process = started.inspect_err(|_| remove(&namespace))?;
        let tally = Arc::<Mutex<Tally>>::default();
        let (lines, counted) = (process.stdout.take(), Arc::clone(&tally));
        let read = move || {
            for line in lines.into_iter().flat_map(|lines| BufReader::new(lines).lines().map_while(Result::ok)) {
                count(&mut counted.lock().unwrap_or_else(PoisonError::into_inner), &line);
            }
        };
        Ok(Self { namespace, process, reader: Some(thread::spawn(read)), tally })
    }

    /// A command in the neighbor's namespace.
    pub(super) fn command(&self, program: &str) -> Command {
        inside(&self.namespace, program)
    }

    /// Nobody has answered yet.
    pub(super) fn unanswered(&self) -> Result<()> {
        let tally = self.tally();
        match tally.answers.first() {
            Some(first) => bail!("the guarded port answered {} times, first: {first}", tally.answers.len()),
            None => Ok(()),
        }
    }

    /// The guard goes: what was silent until now may answer.
    pub(super) fn expects_answers(&self) {
        let mut tally = self.tally();
        let knocks_before = tally.knocks;
        tally.removed.get_or_insert(Removed { knocks_before, answers: 0 });
    }

    /// Ends it. Fails if it has not seen what proves that it could see.
    pub(super) fn move_out(mut self) -> Result<Attempts> {
        self.end();
        let tally = self.tally();
        ensure!(tally.open_connected > 0, "the neighbour never reached the open port either: it proves nothing");
        let removed = tally.removed.as_ref().context("the package was never removed")?;
        ensure!(removed.answers > 0, "the port stayed silent after the package was removed: the test sees nothing");
        Ok(Attempts { before_removal: removed.knocks_before, answered_after: removed.answers })
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.end();
        remove(&self.namespace);
    }
}

fn count(tally: &mut Tally, line: &str) {
    let mut words = line.split(' ').skip(1);
    let (port, outcome) = (words.next().and_then(|port| port.parse().ok()), words.next());
    let answered = matches!(outcome, Some("connected" | "refused"));
    match port {
        Some(GUARDED) => {
            tally.knocks += 1;
            match &mut tally.removed {
                Some(removed) => removed.answers += u64::from(outcome == Some("connected")),
                None if answered => tally.answers.push(line.to_owned()),
                None => {}
            }
        }
        Some(OPEN) => tally.open_connected += u64::from(outcome == Some("connected")),
        _ => {}
    }
}

fn inside(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

/// Removes what runs left that were ended: namespaces named after processes that are no more.
fn sweep() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let dead = |process: &str| !Path::new("/proc").join(process).exists();
        if name.strip_prefix(PREFIX).is_some_and(dead) {
            remove(&name);
        }
    }
}

fn remove(namespace: &str) {
    let _ = sh::succeeds(Command::new("ip").args(["netns", "delete", namespace]));
}
