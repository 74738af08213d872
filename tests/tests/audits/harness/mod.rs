//! What the audits share: [`frames`] for attacks that are packets, [`streams`] for attacks that are connections.

pub(crate) mod frames;
pub(crate) mod streams;

use std::env;
use std::time::Duration;

use anyhow::Result;
use tests::guard::Guard;
use tests::layers::Layers;
use tests::netns::Netns;

/// The guarded port.
pub(crate) const PORT: u16 = 11434;
/// Another one, on which something listens too.
pub(crate) const OTHER: u16 = 8080;

/// The policy of the audits: the LAN is the side that may.
pub(crate) const TRUSTED: &str = "[interfaces]\ntrusted = [\"lo\", \"lan0\"]\n[metrics]\nlisten = \"\"";

/// Starts the guard; `rest` may begin with keys of the top level.
pub(crate) fn guard<'a>(ns: &'a Netns, layers: Layers, rest: &str) -> Result<Guard<'a>> {
    if env::var_os("OLLAMA_GUARD_DISARM").is_none() {
        return Guard::start(ns, &layers.policy(rest));
    }
    let mut guard = Guard::prepare(ns, &format!("wall = false\nseatbelt = false\n{rest}"))?;
    guard.run()?;
    guard.process()?.logged("NOTHING IS GUARDED", Duration::from_secs(30))?;
    Ok(guard)
}

/// Makes of each function that takes [`Layers`] one test for each layer alone and one for both.
macro_rules! audits {
    ($($test:ident),+ $(,)?) => {
        tests::for_each_arrangement!($($test),+);
        tests::arrangement!(xdp_generic, XdpGeneric, $($test),+);
    };
}
pub(crate) use audits;
