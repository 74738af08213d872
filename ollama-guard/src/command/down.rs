//! `ollama-guard down`: stop enforcing and leave no trace.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;

use super::load_to_look;
use super::output::print;
use crate::datapath::PinDirectory;
use crate::exit::Exit;
use crate::observe::text::services;
use crate::policy::Paths;
use crate::reconcile::{Holder, record};
use crate::seatbelt::{Seatbelt, TABLE};

/// How long a daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends the daemon, then removes everything from the kernel.
pub(super) fn down(file: Option<&Path>) -> anyhow::Result<Exit> {
    let policy = load_to_look(file);
    stop_daemon(&policy.paths)?;
    let wall = PinDirectory::at(&policy.paths.bpf).remove_all()?;
    let table = remove_table()?;
    record::remove(&policy.paths.run).context("cannot remove the record of what was in force")?;
    let what = services(&policy.services);
    print(&if wall || table {
        format!("ollama-guard is down: its programs, pins and rules are gone. {what} is NO LONGER GUARDED.\n")
    } else {
        "nothing to remove: ollama-guard was not enforcing anything\n".to_owned()
    })?;
    Ok(Exit::Fine)
}

/// True if there was a table.
fn remove_table() -> anyhow::Result<bool> {
    let mut seatbelt = match Seatbelt::open(TABLE) {
        Err(error) if error.is_absence() => return Ok(false),
        opened => opened?,
    };
    let there = match seatbelt.status() {
        Err(error) if error.is_absence() => return Ok(false),
        status => status?.installed,
    };
    if there {
        seatbelt.remove().with_context(|| format!("the table inet {TABLE} could not be removed"))?;
    }
    Ok(there)
}

/// A daemon that went on would put everything back.
fn stop_daemon(paths: &Paths) -> anyhow::Result<()> {
    let asked = Holder::signal(&paths.run, Signal::TERM);
    if !asked.context("cannot stop the daemon; run this as root (sudo), or stop its service first")? {
        return Ok(());
    }
    let start = Instant::now();
    while Holder::find(&paths.run).is_some() {
        if start.elapsed() > PATIENCE {
            bail!("the daemon did not end within 10 s; end it and run this again");
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}
