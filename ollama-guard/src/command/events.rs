//! `ollama-guard events`: drops as they happen, from the daemon, which alone can read the kernel's ring.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, anyhow};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::load_to_look;
use crate::account;
use crate::cli::EventsArgs;
use crate::events::{Line, socket};
use crate::exit::Exit;
use crate::init::Init;
use crate::observe::terminal::localized;

/// Prints until interrupted, or until nobody reads.
pub(super) fn events(file: Option<&Path>, args: &EventsArgs) -> anyhow::Result<Exit> {
    let path = socket(&load_to_look(file).paths.run);
    let stream = UnixStream::connect(&path).map_err(|error| unreachable(&path, &error))?;
    let mut lines = BufReader::new(&stream);
    let mut text = String::new();
    loop {
        if lines.buffer().is_empty() && !wait(&stream)? {
            return Ok(Exit::Fine);
        }
        text.clear();
        if lines.read_line(&mut text).context("cannot read events from the daemon")? == 0 {
            return Err(anyhow!("the daemon ended, and with it the events; what is in the kernel stays in force"));
        }
        let line = serde_json::from_str(&text).context("the daemon is of another version: restart it")?;
        let shown = if let Line::Ready { .. } = line {
            if !args.json && io::stdout().is_terminal() {
                eprintln!("waiting for drops; Ctrl-C ends");
            }
            continue;
        } else if let Line::Full { readers } = line {
            return Err(anyhow!(
                "{readers} readers of events are connected already, and there may be no more: end one of them"
            ));
        } else if args.json {
            text.clone()
        } else {
            localized(&readable(&line)).into_owned()
        };
        if !write(&shown)? {
            return Ok(Exit::Fine);
        }
    }
}

/// Waits for the daemon to say something; false if our own reader is gone.
fn wait(stream: &UnixStream) -> anyhow::Result<bool> {
    let stdout = io::stdout();
    let mut sides = [PollFd::new(stream.as_fd(), PollFlags::POLLIN), PollFd::new(stdout.as_fd(), PollFlags::empty())];
    loop {
        match poll(&mut sides, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for events"),
            Ok(_) => return Ok(!sides[1].revents().is_some_and(|found| found.contains(PollFlags::POLLERR))),
        }
    }
}

/// False if our reader is gone.
fn write(text: &str) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true).context("cannot write to standard output: is the disk full?"),
    }
}

fn readable(line: &Line) -> String {
    match line {
        Line::Drop(drop) => format!("{} {drop}\n", clock(drop.time)),
        Line::Missed(missed) => format!("{missed}\n"),
        Line::Ready { .. } | Line::Full { .. } => String::new(),
    }
}

/// Time of day in UTC: `14:03:59Z`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds since 1970, far below 2^53")]
fn clock(time: f64) -> String {
    let seconds = time.max(0.0) as u64 % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn unreachable(path: &Path, error: &io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => anyhow!(
            "the daemon is not running (nothing listens on {}): start it: {}. Packets are still being \
             dropped; see: ollama-guard status, ollama-guard sources",
            path.display(),
            Init::here().start()
        ),
        io::ErrorKind::PermissionDenied => anyhow!("permission denied on {}: {}", path.display(), account::join()),
        _ => anyhow!("cannot connect to {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day() {
        assert_eq!(clock(1_763_735_023.9), "14:23:43Z");
        assert_eq!(clock(-1.0), "00:00:00Z");
    }
}
