//! Asks the engines what they publish.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tracing::debug;

use super::docker::{self, HostConfig, Info, Inspected, Listed};
use super::{Language, Socket, slirp4netns};
use crate::derived::Forward;
use crate::derived::exchange::exchange;

/// Containers that do not run, of which an engine is asked what they will publish.
const MOST_IDLE: usize = 256;

/// What the engines said last.
#[derive(Debug, Default)]
pub(in crate::derived) struct Engines {
    said: Vec<Forward>,
    /// What idle containers will publish, by their id: that never changes.
    idle: BTreeMap<String, Vec<Forward>>,
    /// Where each daemon keeps its containers.
    folders: BTreeMap<PathBuf, PathBuf>,
}

impl Engines {
    /// What they said last.
    pub(in crate::derived) fn said(&self) -> &[Forward] {
        &self.said
    }

    /// Asks all of them. One that is not there, or that does not let us in, says nothing.
    pub(in crate::derived) fn ask(&mut self, engines: &BTreeSet<Socket>) {
        let before = std::mem::take(&mut self.idle);
        self.said = engines.iter().flat_map(|engine| self.ask_one(engine, &before)).collect();
    }

    fn ask_one(&mut self, engine: &Socket, before: &BTreeMap<String, Vec<Forward>>) -> Vec<Forward> {
        let Socket { path, language, user } = engine;
        if *language == Language::Slirp4netns {
            let answer = said(path, slirp4netns::QUESTION);
            return answer.and_then(|answer| slirp4netns::forwards(&answer, *user)).unwrap_or_default();
        }
        if user.is_none() {
            self.find_folder(engine);
        }
        let listed: Vec<Listed> =
            said(path, &docker::list()).and_then(|answer| docker::body(&answer)).unwrap_or_default();
        let mut forwards: Vec<_> = listed.iter().flat_map(|container| container.forwards(*user)).collect();
        // Nobody is believed about a port on which he does not listen, but root.
        for container in listed.iter().filter(|one| user.is_none() && one.is_idle()).take(MOST_IDLE) {
            let Some(id) = container.id() else { continue };
            let known = before.get(id).cloned();
            if let Some(will) = known.or_else(|| self.will_publish(engine, container, id)) {
                forwards.extend(will.iter().cloned());
                self.idle.insert(id.to_owned(), will);
            }
        }
        forwards
    }

    /// Docker answers nothing about a container while it starts it, and starts it right after making it. So its file is
    /// read where we may; the answer is for everybody else, and for Podman.
    fn will_publish(&self, engine: &Socket, container: &Listed, id: &str) -> Option<Vec<Forward>> {
        let folder = self.folders.get(&engine.path);
        let file = folder.map(|folder| folder.join(id).join("hostconfig.json"));
        let read = file.and_then(|file| serde_json::from_slice::<HostConfig>(&fs::read(file).ok()?).ok());
        read.map(|config| config.forwards(container.name().as_deref())).or_else(|| {
            let inspected: Inspected = docker::body(&said(&engine.path, &docker::inspect(id))?)?;
            Some(inspected.forwards())
        })
    }

    /// Asked before there is a container in a hurry: Docker starts programs to answer this.
    fn find_folder(&mut self, engine: &Socket) {
        if engine.language == Language::Docker && !self.folders.contains_key(&engine.path) {
            let info = said(&engine.path, &docker::info()).and_then(|answer| docker::body::<Info>(&answer));
            self.folders.extend(info.map(|info| (engine.path.clone(), info.containers())));
        }
    }
}

fn said(path: &Path, question: &str) -> Option<String> {
    let answer = exchange(path, question);
    answer.inspect_err(|error| debug!("{} does not say what is published: {error}", path.display())).ok()
}
