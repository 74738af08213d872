//! A real Ollama that serves a tiny random model on every address of a namespace.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::client::Stream;
use super::parts::{Parts, script, utf8};
use crate::leftovers;
use crate::netns::{Netns, run};
use crate::probe;
use crate::process::Process;
use crate::wait;

/// Ollama's port.
pub const PORT: u16 = 11434;

/// The model's name, as clients ask for it.
pub const MODEL: &str = "nonsense";

/// Loading libraries and model takes seconds on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

/// `ollama serve` with `OLLAMA_HOST=0.0.0.0`: the configuration this project exists for.
#[derive(Debug)]
pub struct Ollama {
    /// The server.
    pub process: Process,
    parts: Parts,
    _home: TempDir,
}

impl Ollama {
    /// Starts it, gives it the model, and has it speak once, so that the model is loaded when this returns.
    pub fn start(parts: &Parts, ns: &Netns) -> Result<Self> {
        let home = leftovers::folder()?;
        let program = parts.program("ollama");
        let command = |arguments: &[&str], host: &str| -> Result<Command> {
            let mut command = ns.command(utf8(&program)?, arguments);
            command.env("HOME", home.path()).env("OLLAMA_HOST", host).env("OLLAMA_KEEP_ALIVE", "-1");
            Ok(command)
        };
        let process = Process::spawn(&command(&["serve"], "0.0.0.0")?, "ollama serve")?;
        wait::until("Ollama to answer", LIMIT, || {
            probe::http(ns, Ipv4Addr::LOCALHOST, PORT).is_ok_and(|outcome| outcome.is_open())
        })
        .with_context(|| process.log())?;

        let model = home.path().join("model.gguf");
        run(Command::new(parts.python()).arg(script("make_model.py")).arg(&model))?;
        let recipe = home.path().join("Modelfile");
        fs::write(&recipe, format!("FROM {}\n", model.display()))?;
        run(&mut command(&["create", MODEL, "-f", utf8(&recipe)?], "127.0.0.1")?)?;

        let ollama = Self { process, parts: parts.clone(), _home: home };
        ollama.stream(ns, Ipv4Addr::LOCALHOST.into())?.finish()?;
        Ok(ollama)
    }

    /// The models, as the official client lists them from another namespace.
    pub fn list(&self, from: &Netns, address: std::net::IpAddr) -> Result<Vec<String>> {
        let (python, script, host) = (self.parts.python(), script("client.py"), url(address));
        let printed = from.run(utf8(&python)?, &[utf8(&script)?, &host, "list"])?;
        Ok(printed.lines().map(str::to_owned).collect())
    }

    /// Starts to stream generations from another namespace, by the official client, until they are told to finish.
    pub fn stream(&self, from: &Netns, address: std::net::IpAddr) -> Result<Stream> {
        let (python, script, host) = (self.parts.python(), script("client.py"), url(address));
        let arguments = [utf8(&script)?, &host, "generate", MODEL];
        Ok(Stream::new(from.spawn(utf8(&python)?, &arguments)?))
    }
}

fn url(address: std::net::IpAddr) -> String {
    format!("http://{}", std::net::SocketAddr::new(address, PORT))
}
