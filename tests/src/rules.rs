//! The packet filter rules of everybody but the guard, as their own tools print them: to see that nobody touched them.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::netns::Netns;
use crate::requires;

/// The table that is not theirs.
const OURS: &str = "ollama_guard";
/// What prints iptables' rules: those it keeps in nftables, and those of its own tables in the kernel.
const SAVES: [&str; 4] = ["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"];

/// All rules but ours, with their handles: rules that were removed and put back differ. Without counts.
pub fn of_others(ns: &Netns) -> Result<String> {
    let ruleset: Value = serde_json::from_str(&ns.run("nft", &["-j", "list", "ruleset"])?)?;
    let objects = ruleset["nftables"].as_array().context("nft printed no ruleset")?;
    let mut lines: Vec<String> =
        objects.iter().filter(|object| !is_ours(object)).map(|object| without_counts(object).to_string()).collect();
    for save in SAVES.into_iter().filter(|save| requires::tool(save).is_ok()) {
        let text = ns.run(save, &[])?;
        let rules = text.lines().filter(|line| !line.starts_with('#'));
        // A chain's counts stand behind its policy.
        lines.extend(rules.map(|line| line.split(" [").next().unwrap_or(line).to_owned()));
    }
    Ok(lines.join("\n"))
}

/// Every object tells its table; a table tells its name.
fn is_ours(object: &Value) -> bool {
    object["table"]["name"] == OURS
        || object.as_object().is_some_and(|kinds| kinds.values().any(|o| o["table"] == OURS))
}

fn without_counts(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(without_counts).collect(),
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, _)| !["packets", "bytes"].contains(&key.as_str()));
            kept.map(|(key, value)| (key.clone(), without_counts(value))).collect()
        }
        other => other.clone(),
    }
}
