//! `ollama-guard check`: is the configuration valid, and what does it mean?

mod describe;
mod suspicious;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::path::Path;

use serde::Serialize;

use super::load;
use super::output::{Document, print, print_json};
use crate::cli::CheckArgs;
use crate::config::{self, ConfigError, Fault, lockout};
use crate::exit::Exit;
use crate::exporter::web::{self, WebError};
use crate::policy::Policy;

pub use describe::describe;
pub use suspicious::suspicious;

/// Validates the file (or the defaults), and prints what it means or what is wrong.
pub fn check(file: Option<&Path>, args: &CheckArgs) -> anyhow::Result<Exit> {
    let name = config::or_default(file);
    let policy = load(file);
    let web = policy.as_ref().ok().and_then(|policy| web::check(policy.web_config.as_deref()?).err());
    let exit = if policy.is_ok() && web.is_none() { Exit::Fine } else { Exit::Usage };
    let ports = local_ports();
    match policy {
        _ if args.json => print_json(&document(name, policy.as_ref(), web.as_ref(), ports), Document::Pretty)?,
        Ok(_) if web.is_some() => eprintln!("{}", web.map(|error| error.to_string()).unwrap_or_default()),
        Ok(_) if args.quiet => {}
        Ok(policy) => {
            let origin = if file.is_some() || name.exists() { "valid" } else { "not there, so the defaults apply" };
            let heading = format!("{} is {origin}.\n\n", name.display());
            print(&(heading + &describe(&policy) + &warnings(&policy, ports)))?;
        }
        Err(error) => eprintln!("{error}"),
    }
    Ok(exit)
}

fn warnings(policy: &Policy, ports: Option<RangeInclusive<u16>>) -> String {
    suspicions(policy, ports).iter().map(|warning| format!("\nWARNING {warning}\n")).collect::<Vec<_>>().concat()
}

/// What is probably not meant, and what stays open as this host is now.
fn suspicions(policy: &Policy, ports: Option<RangeInclusive<u16>>) -> Vec<String> {
    let spared = lockout::judge(policy, &lockout::listeners());
    let open = spared.iter().map(|spared| format!("{spared}; {}", lockout::INSIST));
    suspicious(policy, ports).into_iter().chain(open).collect()
}

/// `check --json`; described in docs/json.md.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    valid: bool,
    policy: Option<&'a Policy>,
    warnings: Vec<String>,
    errors: Vec<Fault>,
}

fn document<'a>(
    file: &'a Path,
    policy: Result<&'a Policy, &ConfigError>,
    web: Option<&WebError>,
    ports: Option<RangeInclusive<u16>>,
) -> Report<'a> {
    let warnings = policy.map(|policy| suspicions(policy, ports)).unwrap_or_default();
    let mut errors = policy.err().map(ConfigError::faults).unwrap_or_default();
    errors.extend(web.map(|error| Fault::of_named_file("metrics.web_config", error)));
    Report { file, valid: errors.is_empty(), policy: policy.ok(), warnings, errors }
}

/// The ports from which Linux picks one for an outgoing connection.
fn local_ports() -> Option<RangeInclusive<u16>> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_ascii_whitespace().map(str::parse);
    Some(ports.next()?.ok()?..=ports.next()?.ok()?)
}
