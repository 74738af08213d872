//! Attacks that are connections: by which ways the port answers, and to whom there is silence.

use anyhow::{Context, Result};
use tests::claims::{Attempt, answers, silent};
use tests::guard::Guard;
use tests::layers::Layers;
use tests::listener::Listener;
use tests::netns::Netns;

use super::{OTHER, PORT, TRUSTED, guard};

/// The eBPF layer alone.
pub(crate) const WALL: &[Layers] = &[Layers::Xdp, Layers::XdpGeneric, Layers::Tc];

/// An audit of connections.
pub(crate) struct Streams<'a> {
    /// Where the guard runs.
    pub(crate) host: &'a Netns,
    /// What must not be reached.
    pub(crate) listener: &'a Listener,
    /// At which port it is tried: that of the listener, or one that leads there.
    pub(crate) port: u16,
    /// Who must not reach it.
    pub(crate) strangers: Vec<Attempt<'a>>,
    /// Who must, by the same way.
    pub(crate) friends: Vec<Attempt<'a>>,
    /// Arrangements that cannot stop it, which the documentation says.
    pub(crate) blind: &'a [Layers],
}

impl<'a> Streams<'a> {
    /// Runs it in one arrangement of layers; returns the guard, which goes on.
    pub(crate) fn run(&self, layers: Layers) -> Result<Guard<'a>> {
        let _other = (self.port == PORT).then(|| Listener::http(self.host, OTHER)).transpose()?;
        answers(self.port, &self.strangers).context("an unguarded host")?;
        answers(self.port, &self.friends).context("an unguarded host")?;
        let guard = guard(self.host, layers, TRUSTED)?;
        self.holds(layers)?;
        if self.port == PORT {
            answers(OTHER, &self.strangers).context("another port")?;
        }
        Ok(guard)
    }

    /// The port is closed to strangers and open to friends.
    pub(crate) fn holds(&self, layers: Layers) -> Result<()> {
        if self.blind.contains(&layers) {
            answers(self.port, &self.strangers).context("a layer that cannot know of this")?;
        } else {
            silent(self.listener, self.port, &self.strangers).context("strangers")?;
        }
        answers(self.port, &self.friends).context("friends")
    }
}
