//! The first line: is the port closed, to whom is it open, and what holds it. For people who read one line.

use super::super::enforcement::{Enforcement, enforcement, problems};
use super::super::snapshot::{Attachment, Interface, SeatbeltState, Severity, Snapshot};
use super::super::terminal::Tone;
use super::super::text::{joined, printable};
use crate::class::Class;
use crate::policy::{Access, Protocol};

/// `tcp 11434 is closed to strangers · open to this machine, tailscale0 · both layers in place`.
pub(super) fn headline(snapshot: &Snapshot) -> (String, Tone) {
    let ports = ports(snapshot);
    let (is, are_open) = if ports.several { ("are", "are OPEN") } else { ("is", "is OPEN") };
    let (state, tone) = match enforcement(snapshot) {
        Enforcement::Full if snapshot.opened => {
            (format!("{} may be OPEN to strangers, because the configuration says so", ports.text), Tone::Bad)
        }
        Enforcement::Full => (format!("{} {is} closed to strangers", ports.text), Tone::Good),
        Enforcement::Partial if nftables_covers(snapshot) => {
            (format!("{} {is} closed to strangers", ports.text), Tone::Warning)
        }
        Enforcement::Partial => (format!("{} may be OPEN to strangers", ports.text), Tone::Bad),
        Enforcement::Observing => {
            return (format!("{} {are_open}: observe mode drops nothing", ports.text), Tone::Bad);
        }
        Enforcement::Absent if snapshot.services.is_empty() => {
            return ("no policy is loaded; no port is closed".to_owned(), Tone::Bad);
        }
        Enforcement::Absent => return (format!("{} {are_open}: nothing is enforced", ports.text), Tone::Bad),
    };
    (joined([state, format!("open to {}", open_to(snapshot)), layers(snapshot).to_owned()], " · "), tone)
}

struct Ports {
    text: String,
    several: bool,
}

/// `tcp 11434`, `tcp 3000, 11434 and udp 53`.
fn ports(snapshot: &Snapshot) -> Ports {
    let of = |protocol: Protocol| {
        let services = snapshot.services.iter().filter(|service| service.protocols.contains(&protocol));
        let mut ports: Vec<u16> = services.flat_map(|service| &service.ports).map(|port| port.get()).collect();
        let proxied = snapshot.derived.iter().filter(|port| port.protocol == protocol && port.refused.is_none());
        ports.extend(proxied.map(|port| port.port));
        ports.sort_unstable();
        ports.dedup();
        (protocol, ports)
    };
    let by_protocol = [Protocol::Tcp, Protocol::Udp].map(of).into_iter().filter(|(_, ports)| !ports.is_empty());
    let by_protocol: Vec<_> = by_protocol.collect();
    let words = by_protocol.iter().map(|(protocol, ports)| format!("{protocol} {}", joined(ports, ", ")));
    Ports { text: joined(words, " and "), several: by_protocol.iter().map(|(_, ports)| ports.len()).sum::<usize>() > 1 }
}

/// Whom the policy lets in, as it stands now.
fn open_to(snapshot: &Snapshot) -> String {
    let is_there = |interface: &&Interface| interface.index.is_some() && interface.access == Access::Open;
    let open: Vec<_> = snapshot.interfaces.iter().filter(is_there).collect();
    let name = |interface: &&Interface| match interface.class {
        Class::Trusted if interface.name == "lo" => "this machine".to_owned(),
        Class::Container => format!("containers on {}", printable(&interface.name)),
        _ => printable(&interface.name),
    };
    let mut names: Vec<_> = open.iter().filter(|interface| interface.master.is_none()).map(name).collect();
    names.sort_by_key(|name| name != "this machine");
    match snapshot.allowed {
        Some(0) => {}
        Some(1) => names.push("1 allowed source".to_owned()),
        Some(sources) => names.push(format!("{sources} allowed sources")),
        None => names.push("the sources of a long allow-list".to_owned()),
    }
    if names.is_empty() { "nobody".to_owned() } else { shortened(&names) }
}

/// A list that fits a line.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names.len() {
        0..=SHOWN => joined(names, ", "),
        all => format!("{} and {} more", joined(&names[..SHOWN - 1], ", "), all - SHOWN + 1),
    }
}

/// All that is missing are programs on interfaces, and the other layer is whole.
fn nftables_covers(snapshot: &Snapshot) -> bool {
    let gaps = problems(snapshot).into_iter().filter(|problem| problem.severity == Severity::Gap).count();
    let missing = snapshot.interfaces.iter().filter(|i| is_missing(i) && i.class != Class::Trusted).count();
    has_nftables(snapshot) && gaps == missing
}

const fn is_missing(interface: &Interface) -> bool {
    matches!(interface.attachment, Attachment::Missing(_))
}

fn has_nftables(snapshot: &Snapshot) -> bool {
    snapshot.layers.seatbelt && snapshot.seatbelt.state == SeatbeltState::Intact
}

fn layers(snapshot: &Snapshot) -> &'static str {
    let ebpf = snapshot.layers.wall && !snapshot.interfaces.iter().any(is_missing);
    match (ebpf, has_nftables(snapshot)) {
        (true, true) => "both layers in place",
        (true, false) => "eBPF alone",
        (false, true) => "nftables alone",
        (false, false) => "no layer complete",
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::samples::{day, derived};
    use super::*;
    use crate::policy::Mode;

    #[test]
    fn one_line_says_whether_it_is_closed_and_to_whom_it_is_open() {
        let mut day = day();
        assert_eq!(
            headline(&day).0,
            "tcp 11434 is closed to strangers · open to this machine, tailscale0 · both layers in place"
        );
        day.derived = vec![derived()];
        day.allowed = Some(2);
        day.layers.seatbelt = false;
        assert_eq!(
            headline(&day).0,
            "tcp 8080, 11434 are closed to strangers · open to this machine, tailscale0, 2 allowed sources · eBPF alone"
        );
        day.interfaces[0].attachment = Attachment::Missing("the driver refused".into());
        day.layers.seatbelt = true;
        let (line, tone) = headline(&day);
        assert!(line.contains(" are closed to strangers · ") && line.ends_with("nftables alone"), "{line}");
        assert_eq!(tone, Tone::Warning);
        day.layers.seatbelt = false;
        assert!(headline(&day).0.starts_with("tcp 8080, 11434 may be OPEN to strangers · "));
        let opened = Snapshot { opened: true, ..super::super::super::samples::day() };
        let says = "tcp 11434 may be OPEN to strangers, because the configuration says so · ";
        assert!(headline(&opened).0.starts_with(says), "{}", headline(&opened).0);
        day.mode = Mode::Observe;
        assert_eq!(headline(&day), ("tcp 8080, 11434 are OPEN: observe mode drops nothing".into(), Tone::Bad));
        day.services.clear();
        assert_eq!(headline(&day), ("no policy is loaded; no port is closed".into(), Tone::Bad));
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<_> = (0..9).map(|n| format!("wg{n}")).collect();
        assert_eq!(shortened(&names), "wg0, wg1, wg2, wg3 and 5 more");
        assert_eq!(shortened(&names[..5]), "wg0, wg1, wg2, wg3, wg4");
    }
}
