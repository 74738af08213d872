//! The eBPF layer, had or not: what fails is tried again soon, then ever less often, and never stands in the way of the
//! other layer.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::datapath::{DatapathError, PinDirectory, Wall};
use crate::exit::in_words;
use crate::policy::Policy;

/// Shorter than the daemon's longest pause between passes, so that each of those may try.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The wall, or why there is none.
#[derive(Debug)]
pub(super) struct Ebpf {
    pub(super) wall: Option<Wall>,
    failure: Option<String>,
    backoff: Backoff,
}

impl Default for Ebpf {
    fn default() -> Self {
        Self { wall: None, failure: None, backoff: Backoff::up_to(LONGEST_PAUSE) }
    }
}

impl Ebpf {
    /// Takes over what is pinned, and loads nothing: quick, and whatever is wrong shows later.
    pub(super) fn adopt(&mut self, policy: &Policy) {
        let pins = PinDirectory::at(&policy.paths.bpf);
        if self.wall.is_none() && matches!(Wall::open(pins.clone()), Ok(Some(_))) {
            self.wall = Wall::create(pins, policy.sources.tracked).ok();
        }
    }

    /// Makes the wall if there is none and it is time to try. Those who switch the layer off may have no BPF: then it
    /// is no failure, and what is attached still has to go.
    pub(super) fn open(&mut self, policy: &Policy) {
        if self.wall.is_none() && self.is_due() {
            match Wall::create(PinDirectory::at(&policy.paths.bpf), policy.sources.tracked) {
                Ok(wall) => self.wall = Some(wall),
                Err(error) => self.fails(policy, error),
            }
        }
    }

    /// May it be tried now?
    pub(super) fn is_due(&self) -> bool {
        self.failure.is_none() || self.backoff.wait(Instant::now()).is_none()
    }

    /// Tried again at once: something changed that may have been the reason.
    pub(super) fn forgive(&mut self) {
        self.backoff = Backoff::up_to(LONGEST_PAUSE);
    }

    /// Notes a failure, and says so once.
    pub(super) fn fails(&mut self, policy: &Policy, error: DatapathError) {
        let error = anyhow::Error::from(error);
        self.backoff.record(Instant::now());
        let words = format!("{}{}", in_words(&error), advice(&error));
        if policy.layers.wall && self.failure.as_ref() != Some(&words) {
            warn!("the eBPF layer is NOT in place: {words}; this is tried again");
        }
        self.failure = Some(words);
    }

    /// Notes that all is well.
    pub(super) fn stands(&mut self, policy: &Policy) {
        if self.failure.take().is_some() && policy.layers.wall {
            info!("the eBPF layer is in place now");
        }
    }

    /// Why it is not in place.
    pub(super) fn failure(&self) -> Option<&String> {
        self.failure.as_ref()
    }
}

/// What helps here, besides what the error says itself.
fn advice(error: &anyhow::Error) -> String {
    let no_descriptors = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        matches!(io, Some(libc::EMFILE | libc::ENFILE)) || cause.to_string().contains("os error 24")
    };
    if error.chain().any(no_descriptors) {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        return format!(
            "; this process may have {limit} open files: raise LimitNOFILE= of the service (ulimit -n) to 1024"
        );
    }
    let denied = matches!(
        error.downcast_ref(),
        Some(DatapathError::NotPermitted | DatapathError::NoBpfFileSystem { .. } | DatapathError::Pin { .. })
    );
    if denied && is_contained() {
        return "; in a container: let it have BPF (LXC: lxc.apparmor.profile and a BPF file system from the host; Incus: \
                security.privileged and a disk device for /sys/fs/bpf; Docker: --cap-add=BPF,PERFMON,NET_ADMIN \
                --volume=/sys/fs/bpf:/sys/fs/bpf), or set `wall = false`: nftables closes the port alone"
            .to_owned();
    }
    String::new()
}

/// Is this a container, by what the kernel says of our ids or what systemd wrote down (systemd's Container Interface)?
fn is_contained() -> bool {
    let mapped = fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_ascii_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]);
    mapped || std::env::var_os("container").is_some() || fs::exists("/run/systemd/container").unwrap_or(false)
}
