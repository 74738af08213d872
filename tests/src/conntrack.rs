//! What connection tracking remembers in a namespace, as the kernel lists it for people.

use std::fs;

use anyhow::{Context, Result};

use crate::netns::Netns;

/// The lines of `/proc/net/nf_conntrack` that name a TCP connection to or from this port, on either side of a translation.
pub fn connections(ns: &Netns, port: u16) -> Result<Vec<String>> {
    let text = ns.enter(|| fs::read_to_string("/proc/thread-self/net/nf_conntrack"))?;
    let text = text.context("reading /proc/net/nf_conntrack")?;
    let words = [format!("sport={port}"), format!("dport={port}")];
    let names = |line: &&str| line.split_whitespace().any(|word| words.iter().any(|wanted| wanted == word));
    Ok(text.lines().filter(|line| line.contains(" tcp ")).filter(names).map(str::to_owned).collect())
}
