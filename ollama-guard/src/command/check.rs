//! `ollama-guard check`: is the configuration valid, and what does it mean?

mod describe;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Serialize;

use super::load;
use super::output::{Document, print, print_json};
use crate::cli::CheckArgs;
use crate::config::{self, ConfigError, Fault, lockout};
use crate::exit::Exit;
use crate::exporter::web;
use crate::findings::{Finding, Weight, of_spared, of_switches};
use crate::observe::collect::findings;
use crate::observe::text::counted;
use crate::policy::Policy;

pub use describe::describe;

/// A configuration that can be put in force.
struct Sound {
    policy: Policy,
    /// What the metrics' web configuration asks for.
    web: Option<web::Asks>,
    warnings: Vec<Finding>,
    /// What a user may want, and no fault of the configuration.
    hints: Vec<Finding>,
}

/// Validates the file (or the defaults), and prints what it means or what is wrong.
pub fn check(file: Option<&Path>, args: &CheckArgs) -> anyhow::Result<Exit> {
    let name = config::or_default(file);
    let checked = load(file).and_then(|policy| with_web(name, policy)).map(|(policy, web)| {
        let found = of_switches(&policy).into_iter().chain(left_open(&policy)).chain(findings(&policy));
        let (hints, warnings) = found.partition(|finding| finding.weight == Weight::Hint);
        Sound { policy, web, warnings, hints }
    });
    let exit = match &checked {
        Ok(sound) if !args.strict || sound.warnings.is_empty() => Exit::Fine,
        _ => Exit::Usage,
    };
    match &checked {
        _ if args.json => print_json(&document(name, &checked), Document::Pretty)?,
        Ok(sound) if args.quiet => {
            if args.strict {
                eprint!("{}", warnings(&sound.warnings));
            }
        }
        Ok(sound) => {
            let origin = if file.is_some() || name.exists() { "valid" } else { "not there, so the defaults apply" };
            let heading = format!("{} is {origin}.\n\n", name.display());
            let described = describe(&sound.policy, sound.web.as_ref());
            print(&(heading + &described + &warnings(&sound.warnings) + &notes(&sound.hints) + &summary(name, sound)))?;
        }
        Err(error) => {
            let errors = counted(error.faults().len() as u64, "error");
            eprintln!("{error}\n\n{}: {errors}; nothing was changed", name.display());
        }
    }
    Ok(exit)
}

/// The web configuration too must be sound; one that is not is a fault of the key that names it.
fn with_web(file: &Path, policy: Policy) -> Result<(Policy, Option<web::Asks>), ConfigError> {
    let asks = policy.web_config.as_deref().map(web::check).transpose();
    let asks = asks
        .map_err(|error| config::fault_at(file, &["metrics", "web_config"], &error.to_string(), error.next_step()))?;
    Ok((policy, asks))
}

/// What stays open as this host is now, because people get in by it.
fn left_open(policy: &Policy) -> Vec<Finding> {
    let spared = lockout::judge(policy, &lockout::listeners());
    spared.iter().map(of_spared).collect()
}

fn warnings(warnings: &[Finding]) -> String {
    warnings.iter().map(|warning| paragraph("WARNING", warning)).collect()
}

fn notes(hints: &[Finding]) -> String {
    hints.iter().map(|hint| paragraph("NOTE", hint)).collect()
}

fn paragraph(word: &str, Finding { subject, problem, next_step, .. }: &Finding) -> String {
    format!("\n{word} {subject}: {problem}\n        next: {next_step}\n")
}

/// The last line, which is all that some read.
fn summary(file: &Path, sound: &Sound) -> String {
    match sound.warnings.len() {
        0 => String::new(),
        warnings => format!("\n{}: valid, {}\n", file.display(), counted(warnings as u64, "warning")),
    }
}

/// `check --json`; described in docs/json.md.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    valid: bool,
    policy: Option<&'a Policy>,
    warnings: Vec<String>,
    hints: Vec<String>,
    errors: Vec<Fault>,
}

fn document<'a>(file: &'a Path, checked: &'a Result<Sound, ConfigError>) -> Report<'a> {
    let said = |found: &[Finding]| found.iter().map(ToString::to_string).collect();
    let (policy, warnings, hints, errors) = match checked {
        Ok(sound) => (Some(&sound.policy), said(&sound.warnings), said(&sound.hints), Vec::new()),
        Err(error) => (None, Vec::new(), Vec::new(), error.faults()),
    };
    Report { file, valid: errors.is_empty(), policy, warnings, hints, errors }
}
