//! The world with real parts: a real Ollama on the guarded host, a real tailnet, the official client on a laptop.
//!
//! ```text
//!   internet (router, coordination server, relay) ── inet0 ┐
//!      └── laptop, tailscale0 ═════════════════ tailscale0 ┴ guarded host: ollama serve, tailscaled
//! ```

mod client;
mod ollama;
mod parts;
mod tailnet;

use anyhow::Result;

pub use client::Stream;
pub use ollama::{MODEL, Ollama, PORT};
pub use parts::Parts;
pub use tailnet::{Coordinator, INTERFACE, Node};

use crate::requires;
use crate::topology::{Side, World};

/// The guarded host with Ollama, and a laptop that is on the tailnet. The host joins it by [`Self::join`].
#[derive(Debug)]
pub struct RealWorld {
    /// Ollama on the guarded host, on all its addresses.
    pub ollama: Ollama,
    /// The laptop's membership in the tailnet.
    pub laptop_node: Node,
    /// The tailnet's coordination server, on the internet side.
    pub coordinator: Coordinator,
    /// The laptop: seen from the host, a stranger behind `inet0`.
    pub laptop: Side,
    /// A stranger on the internet.
    pub internet: Side,
    /// The guarded host.
    pub world: World,
    parts: Parts,
}

impl RealWorld {
    /// Everything but the host's membership in the tailnet.
    pub fn new() -> Result<Self> {
        let parts = Parts::find()?;
        let world = World::new()?;
        let internet = world.internet()?;
        let laptop = world.laptop(&internet)?;
        let coordinator = Coordinator::start(&parts, &internet)?;
        let laptop_node = Node::join(&parts, &laptop.ns, "laptop", &coordinator)?;
        let ollama = Ollama::start(&parts, &world.guard)?;
        Ok(Self { ollama, laptop_node, coordinator, laptop, internet, world, parts })
    }

    /// Starts Tailscale on the host: `tailscale0` appears, and the laptop reaches the host at the node's addresses.
    pub fn join(&self) -> Result<Node> {
        let node = Node::join(&self.parts, &self.world.guard, "host", &self.coordinator)?;
        self.laptop_node.ping(&node)?;
        Ok(node)
    }
}

/// What a suite with the real parts needs: for [`require!`](crate::require).
pub fn requirements() -> Result<(), String> {
    requires::root()?;
    requires::file("/dev/net/tun")?;
    Parts::find().map(drop).map_err(|error| format!("{error:#}"))
}
