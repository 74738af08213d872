//! One run of a virtual machine: started, listened to, and ended if it hangs.

use super::debian::Kernel;
use crate::sh;
use anyhow::{Context as _, Result, bail};
use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// Before a line of verdict (`tests/src/bin/guest.rs`).
const MARK: &str = "@guest ";
/// For everything, on a busy machine without hardware virtualisation.
const LIMIT: Duration = Duration::from_mins(30);
/// No test is silent for longer.
const SILENCE: Duration = Duration::from_mins(6);
/// How much slower than this machine itself an emulated one is: what tests wait for may take so many times longer.
const SLOWNESS: &str = "4";

/// Ends the machine whatever happens.
pub(super) struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots the kernel with this file system. The answer is what passed; anything else is an error.
pub(super) fn run(kernel: &Kernel, image: &Path, arguments: &[OsString]) -> Result<Vec<String>> {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let environment =
        format!("OLLAMA_GUARD_BIN=/usr/bin/ollama-guard OLLAMA_GUARD_PATIENCE={SLOWNESS} OLLAMA_GUARD_NO_SKIP=1");
    let line = format!("console=ttyS0 quiet panic=-1 {environment} PATH=/usr/bin -- {}", words.join(" "));
    let mut qemu = Command::new(program()?);
    hardware(&mut qemu, kernel, image, &line);
    let child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start QEMU")?;
    let (_machine, lines) = console(child)?;
    listen(&lines)
}

/// QEMU.
pub(super) fn program() -> Result<PathBuf> {
    sh::find_program("qemu-system-x86_64").context("needs qemu-system-x86_64")
}

/// An emulated machine with this kernel, file system and kernel command line, its console on standard output, and nothing
/// else.
pub(super) fn hardware(qemu: &mut Command, kernel: &Kernel, image: &Path, line: &str) {
    // QEMU 7.2 leaves wrong flags behind after cmpxchg16b; kernels without it use locks.
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max,cx16=off", "-smp", "2", "-m", "3072"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]);
    qemu.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(image).args(["-append", line]);
}

/// What a started machine says, line by line. The machine ends with the first of the two.
pub(super) fn console(child: Child) -> Result<(Machine, mpsc::Receiver<String>)> {
    let mut machine = Machine(child);
    let console = machine.0.stdout.take().context("QEMU without a console")?;
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if send.send(line).is_err() {
                return;
            }
        }
    });
    Ok((machine, lines))
}

fn listen(lines: &mpsc::Receiver<String>) -> Result<Vec<String>> {
    let started = Instant::now();
    let (mut passed, mut failed) = (Vec::new(), Vec::new());
    loop {
        let left = LIMIT.checked_sub(started.elapsed()).context("it took over 30 minutes and was ended")?;
        let line = match lines.recv_timeout(SILENCE.min(left)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => bail!("it hung and was ended; above is what it said"),
            Err(RecvTimeoutError::Disconnected) => bail!("it ended before the suites did; above is what it said"),
        };
        println!("  | {line}");
        std::io::stdout().flush()?;
        // The kernel may write into the middle of a line.
        let Some((_, words)) = line.split_once(MARK) else { continue };
        match words.split_once(' ') {
            None if words == "end" && failed.is_empty() => return Ok(passed),
            None if words == "end" => bail!("failed: {}", failed.join(", ")),
            Some((suite, "passed")) => passed.push(format!("{suite} passed")),
            Some((suite, _)) => failed.push(suite.to_owned()),
            None => {}
        }
        if words.starts_with("broken") {
            bail!("{words}");
        }
    }
}
