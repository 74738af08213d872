//! Asks the engines what they publish: all at once, and then once more for the containers that do not run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tracing::debug;

use super::docker::{self, HostConfig, Info, Inspected, Listed};
use super::{Language, Socket, slirp4netns};
use crate::derived::exchange::{Question, exchange};
use crate::derived::{Deadline, Forward};
use crate::procfs;
use crate::quota::Quota;

/// Containers that do not run, of which an engine is asked what they will publish.
const MOST_IDLE: usize = 256;
/// Bytes of a container's file; it has some thousand.
const LONGEST_FILE: u64 = 256 * 1024;

/// What the engines said last.
#[derive(Debug, Default)]
pub(in crate::derived) struct Engines {
    said: Vec<Forward>,
    /// What idle containers will publish, by their id: that never changes.
    idle: BTreeMap<String, Vec<Forward>>,
    /// Where each daemon keeps its containers.
    folders: BTreeMap<PathBuf, PathBuf>,
    /// Some daemon works for a swarm, whose services it cannot tell of.
    works_for_a_swarm: bool,
}

/// What an engine is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topic {
    /// slirp4netns's forwards.
    Forwards,
    /// All containers.
    Containers,
    /// The services of a swarm.
    Services,
    /// Where it keeps its containers.
    Info,
}

impl Topic {
    fn text(self) -> String {
        match self {
            Self::Forwards => slirp4netns::QUESTION.to_owned(),
            Self::Containers => docker::list(),
            Self::Services => docker::services(),
            Self::Info => docker::info(),
        }
    }
}

impl Engines {
    /// What they said last.
    pub(in crate::derived) fn said(&self) -> &[Forward] {
        &self.said
    }

    /// A daemon publishes for a swarm what it cannot tell of.
    pub(in crate::derived) const fn works_for_a_swarm(&self) -> bool {
        self.works_for_a_swarm
    }

    /// Asks all of them. One that is not there, that does not let us in, or that is not done in time, says nothing.
    pub(in crate::derived) fn ask(&mut self, engines: &BTreeSet<Socket>, until: Deadline) {
        self.works_for_a_swarm = false;
        let topics: Vec<_> =
            engines.iter().flat_map(|one| self.topics(one).into_iter().map(move |topic| (one, topic))).collect();
        let questions: Vec<_> = topics.iter().map(|(engine, topic)| question(engine, topic.text())).collect();
        let mut said = Vec::new();
        let mut idle = Vec::new();
        for ((engine, topic), answer) in topics.iter().zip(said_in_time(&questions, until)) {
            let Some(answer) = answer else { continue };
            match topic {
                Topic::Forwards => said.extend(slirp4netns::forwards(&answer, engine.user).unwrap_or_default()),
                Topic::Services if docker::is_worker(&answer) => self.works_for_a_swarm = true,
                Topic::Services => said.extend(docker::ingress(&answer)),
                Topic::Info => {
                    let info = docker::body::<Info>(&answer);
                    self.folders.extend(info.map(|info| (engine.path.clone(), info.containers())));
                }
                Topic::Containers => {
                    let listed: Vec<Listed> = docker::body(&answer).unwrap_or_default();
                    said.extend(listed.iter().flat_map(|container| container.forwards(engine.user)));
                    // A user is believed about ports on which he listens, and nobody listens for these.
                    let waiting = listed.into_iter().filter(|one| engine.user == 0 && one.is_idle());
                    idle.extend(waiting.take(MOST_IDLE).map(|container| (*engine, container)));
                }
            }
        }
        said.extend(self.will_publish(&idle, until));
        let mut quota = Quota::new(16 * 1024, 256, 4096);
        said.retain(|forward| quota.take(forward.word.user()));
        self.said = said;
    }

    /// Where Docker keeps its containers is asked before there is one in a hurry: it starts programs to answer this.
    fn topics(&self, engine: &Socket) -> Vec<Topic> {
        match engine.language {
            Language::Slirp4netns => vec![Topic::Forwards],
            Language::Docker if engine.user == 0 => {
                let info = (!self.folders.contains_key(&engine.path)).then_some(Topic::Info);
                [Topic::Containers, Topic::Services].into_iter().chain(info).collect()
            }
            Language::Docker | Language::Podman => vec![Topic::Containers],
        }
    }

    /// Docker answers nothing about a container while it starts it, and starts it right after making it. So its file is
    /// read where we may; the answer is for everybody else, and for Podman.
    fn will_publish(&mut self, idle: &[(&Socket, Listed)], until: Deadline) -> Vec<Forward> {
        let before = std::mem::take(&mut self.idle);
        let mut unknown = Vec::new();
        for (engine, container) in idle {
            let Some(id) = container.id() else { continue };
            match before.get(id).cloned().or_else(|| self.written(engine, container, id)) {
                Some(will) => drop(self.idle.insert(id.to_owned(), will)),
                None => unknown.push((id, question(engine, docker::inspect(id)))),
            }
        }
        let (ids, questions): (Vec<_>, Vec<_>) = unknown.into_iter().unzip();
        for (id, answer) in ids.iter().zip(said_in_time(&questions, until)) {
            if let Some(inspected) = answer.and_then(|answer| docker::body::<Inspected>(&answer)) {
                self.idle.insert((*id).to_owned(), inspected.forwards());
            }
        }
        self.idle.values().flatten().cloned().collect()
    }

    fn written(&self, engine: &Socket, container: &Listed, id: &str) -> Option<Vec<Forward>> {
        let file = self.folders.get(&engine.path)?.join(id).join("hostconfig.json");
        let config: HostConfig = serde_json::from_slice(&procfs::read_file(&file, LONGEST_FILE).ok()?).ok()?;
        Some(config.forwards(container.name().as_deref()))
    }
}

fn question(engine: &Socket, text: String) -> Question {
    Question { path: engine.path.clone(), user: engine.user, text }
}

fn said_in_time(questions: &[Question], until: Deadline) -> Vec<Option<String>> {
    let answers = exchange(questions, until).into_iter().zip(questions);
    let say =
        |path: &Path, error: &std::io::Error| debug!("{} does not say what is published: {error}", path.display());
    answers.map(|(answer, question)| answer.inspect_err(|error| say(&question.path, error)).ok()).collect()
}
