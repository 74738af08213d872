//! What is said of a known snapshot.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::class::Class;
use crate::observe::samples::{day, interface};
use crate::observe::snapshot::{Attachment, Problem, SeatbeltState, Severity};
use crate::plan::hook::Hook;
use crate::policy::Mode;

fn text(snapshot: &Snapshot, format: Format) -> String {
    let mut ledger = Ledger::default();
    ledger.update(snapshot, 100, Duration::ZERO);
    write(snapshot, Some(&ledger), None, format).unwrap()
}

#[test]
fn an_ordinary_day() {
    insta::assert_snapshot!("an_ordinary_day", text(&day(), Format::OpenMetrics));
    insta::assert_snapshot!("an_ordinary_day_prometheus", text(&day(), Format::Prometheus));
}

#[test]
fn gaps_are_said() {
    let mut snapshot = day();
    snapshot.seatbelt.state = SeatbeltState::Altered("a rule is gone".into());
    let missing = Attachment::Missing("nothing has been attached".into());
    snapshot.interfaces.push(crate::observe::snapshot::Interface {
        attachment: missing,
        ..interface("eth\"1\\\n", 9, Class::Guarded, Hook::Tcx, "")
    });
    snapshot.problems.push(Problem {
        severity: Severity::Warning,
        subject: "eth0".into(),
        problem: "odd".into(),
        next_step: "look".into(),
    });
    let text = text(&snapshot, Format::Prometheus);
    for line in [
        "ollama_guard_enforcing 0.0",
        "ollama_guard_seatbelt_installed 0.0",
        "ollama_guard_problems{severity=\"gap\"} 2.0",
        "ollama_guard_problems{severity=\"warning\"} 1.0",
        "ollama_guard_interface_attached{device=\"eth\\\"1\\\\\\n\",class=\"guarded\",hook=\"none\"} 0.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn without_a_memory_there_are_no_series_of_sources() {
    let text = write(&day(), None, None, Format::Prometheus).unwrap();
    assert!(!text.contains("source_packets") && text.contains("ollama_guard_sources_tracked"));
}

#[test]
fn the_daemon_tells_of_its_configuration_and_process() {
    let last_success = crate::clock::boot();
    let daemon = Daemon { reload: Reload { successful: false, last_success }, process: Process::read() };
    let text = write(&day(), None, Some(daemon), Format::Prometheus).unwrap();
    assert!(text.contains("ollama_guard_config_last_reload_successful 0.0\n"));
    // A date, made of an age: whatever the date was when it was read.
    let date =
        text.lines().find_map(|line| line.strip_prefix("ollama_guard_config_last_reload_success_timestamp_seconds "));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(date.is_some_and(|date| (date.parse::<f64>().unwrap() - now).abs() < 60.0), "{text}");
    assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"));
}

/// Everything that is said under some name, somewhere.
fn everything() -> String {
    let mut ledger = Ledger::default();
    ledger.update(&day(), 100, Duration::ZERO);
    let reload = Reload { successful: true, last_success: Duration::ZERO };
    let daemon = Daemon { reload, process: Process::read() };
    write(&day(), Some(&ledger), Some(daemon), Format::Prometheus).unwrap()
}

/// The metrics that a text speaks of.
fn names(text: &str) -> std::collections::BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("ollama_guard_") || word.starts_with("process_")).collect()
}

#[test]
fn rules_and_dashboard_use_metrics_that_exist_and_the_documentation_has_them_all() {
    let text = everything();
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let exist: std::collections::BTreeSet<&str> = series.filter_map(|line| line.split(['{', ' ']).next()).collect();
    for (file, text) in [
        ("alerts.yml", include_str!("../../../../dist/prometheus/alerts.yml")),
        ("grafana.json", include_str!("../../../../dist/prometheus/grafana.json")),
    ] {
        let used = names(text);
        assert!(used.len() > 5 && used.is_subset(&exist), "{file}: {:?}", used.difference(&exist));
    }
    assert_eq!(names(include_str!("../../../../docs/metrics.md").replace("ollama_guard.prom", "").as_str()), exist);
}

/// Prometheus sees an increase only between two values.
#[test]
fn what_can_happen_is_zero_before_it_happens() {
    let mut snapshot = day();
    snapshot.interfaces.iter_mut().for_each(|interface| interface.counters.clear());
    for (mode, happens, never) in [(Mode::Enforce, "dropped", "would_drop"), (Mode::Observe, "would_drop", "dropped")] {
        snapshot.mode = mode;
        let text = text(&snapshot, Format::Prometheus);
        let verdicts = |device: &str| {
            let prefix = format!("ollama_guard_packets_total{{device=\"{device}\"");
            let lines: Vec<_> = text.lines().filter(|line| line.starts_with(&prefix)).collect();
            assert!(!lines.is_empty() && lines.iter().all(|line| line.ends_with(" 0")), "{lines:?}");
            ["passed", happens, never].map(|verdict| lines.iter().any(|line| line.contains(&format!("\"{verdict}\""))))
        };
        assert_eq!(verdicts("eth0"), [true, true, false], "{text}");
        assert_eq!(verdicts("tailscale0"), [true, false, false], "{text}");
    }
}
