//! The classifier and the decision against everything a single packet can do to hide its port.

#[allow(dead_code, unreachable_pub, unused_imports, reason = "the suites that run against the kernel use the rest")]
#[path = "../../../tests/src/packet/mod.rs"]
mod packet;

mod addresses;
mod cases;
mod decision;
mod inside;
mod length;
mod model;
mod outcomes;
mod properties;
