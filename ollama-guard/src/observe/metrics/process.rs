//! The daemon's own process, under the names that every Prometheus client gives these metrics.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

use super::encode::{Family, Labels, Series, Value};
use super::families::gauge;

/// A reading of `/proc/self` (proc(5)); what could not be read is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    cpu_seconds: Option<f64>,
    start_time: Option<f64>,
    virtual_bytes: Option<f64>,
    resident_bytes: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
}

impl Process {
    /// Reads it.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub fn read() -> Self {
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096) as f64;
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let field = |number| stat_field(&stat, number).map(|value| value as f64);
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|stat| boot_time(&stat));
        Self {
            cpu_seconds: field(14).zip(field(15)).map(|(user, system)| (user + system) / per_second),
            start_time: field(22).zip(boot).map(|(ticks, boot)| boot as f64 + ticks / per_second),
            virtual_bytes: field(23),
            resident_bytes: field(24).map(|pages| pages * page),
            // Less the one that reads the directory.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1) as f64),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft as f64),
        }
    }
}

/// A field of `/proc/PID/stat`, counted from 1 as in proc(5). The second one may hold anything, so count behind it.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

pub(super) fn families(process: &Process) -> Vec<Family> {
    let cpu = process.cpu_seconds.map(|seconds| Family {
        name: "process_cpu_seconds",
        help: "User and system CPU time of the daemon in seconds.",
        series: vec![Series { labels: Labels::default(), value: Value::Seconds(seconds) }],
    });
    let gauges = [
        ("process_start_time_seconds", "Start of the daemon in seconds since the Unix epoch.", process.start_time),
        ("process_virtual_memory_bytes", "Virtual memory of the daemon in bytes.", process.virtual_bytes),
        ("process_resident_memory_bytes", "Resident memory of the daemon in bytes.", process.resident_bytes),
        ("process_open_fds", "File descriptors the daemon has open.", process.open_fds),
        ("process_max_fds", "File descriptors the daemon may have open.", process.max_fds),
    ];
    let gauges = gauges.into_iter().filter_map(|(name, help, value)| Some(gauge(name, help, value?)));
    cpu.into_iter().chain(gauges).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_a_parenthesis_shifts_nothing() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 90 0 0 0 11 12 0 0 20 0 1 0 5000 1048576 256 18446744073709551615";
        assert_eq!([14, 15, 22, 23, 24].map(|n| stat_field(stat, n)), [11, 12, 5000, 1_048_576, 256].map(Some));
        assert_eq!(stat_field("", 14), None);
    }

    #[test]
    fn this_process_is_there() {
        let process = Process::read();
        assert!(process.resident_bytes > Some(4096.0) && process.open_fds > Some(2.0) && process.max_fds > Some(2.0));
        assert!(process.start_time > Some(1.0e9) && process.cpu_seconds.is_some());
    }
}
