//! What the build and the tests need from the system: one list each.

use crate::sh;
use std::process::Command;

/// One thing the system has to provide.
pub(crate) struct Need {
    /// What it is.
    pub(crate) what: &'static str,
    /// What for.
    pub(crate) why: &'static str,
    /// How to see that it is there.
    probe: Probe,
    /// Which packages bring it.
    pub(crate) packages: Packages,
}

/// Package names per package manager, separated by blanks; empty where the distribution has none.
pub(crate) struct Packages {
    /// Debian, Ubuntu.
    pub(crate) apt: &'static str,
    /// Fedora.
    pub(crate) dnf: &'static str,
    /// Arch.
    pub(crate) pacman: &'static str,
}

enum Probe {
    /// A program in `PATH`, or where only root's leads.
    Program(&'static str),
    /// A library that pkg-config knows.
    Library(&'static str),
}

impl Need {
    /// Is it there? Milliseconds, and no package manager asked.
    pub(crate) fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => sh::find_program(name).is_some(),
            Probe::Library(name) => sh::succeeds(Command::new("pkg-config").args(["--exists", name])),
        }
    }
}

const fn program(
    name: &'static str,
    why: &'static str,
    apt: &'static str,
    dnf: &'static str,
    pacman: &'static str,
) -> Need {
    Need { what: name, why, probe: Probe::Program(name), packages: Packages { apt, dnf, pacman } }
}

const fn library(
    name: &'static str,
    why: &'static str,
    apt: &'static str,
    dnf: &'static str,
    pacman: &'static str,
) -> Need {
    Need { what: name, why, probe: Probe::Library(name), packages: Packages { apt, dnf, pacman } }
}

/// What `cargo build` needs, besides the Rust toolchain for the kernel programs.
#[rustfmt::skip]
pub(crate) const BUILD: &[Need] = &[
    //       what          why                                        apt              dnf                   pacman
    program("cc",         "links the program",                       "gcc libc6-dev", "gcc",                "gcc"),
    program("pkg-config", "finds the two libraries below",           "pkg-config",    "pkgconf-pkg-config", "pkgconf"),
    library("libmnl",     "netlink messages for the nftables layer", "libmnl-dev",    "libmnl-devel",       "libmnl"),
    library("libnftnl",   "nftables rules as netlink messages",      "libnftnl-dev",  "libnftnl-devel",     "libnftnl"),
];

/// What the tests use as peers, attackers and witnesses.
#[rustfmt::skip]
pub(crate) const TEST: &[Need] = &[
    //       what            why                                               apt                dnf                pacman
    program("ip",           "makes namespaces, links and routes",             "iproute2",        "iproute",         "iproute2"),
    program("nft",          "reads tables back with other eyes than ours",    "nftables",        "nftables",        "nftables"),
    program("iptables",     "redirects and DNAT as other software sets them", "iptables",        "iptables-nft",    "iptables"),
    program("ufw",          "somebody else's firewall, beside the guard",     "ufw",             "ufw",             "ufw"),
    program("ethtool",      "compares a NIC's features before and after",     "ethtool",         "ethtool",         "ethtool"),
    program("bpftool",      "reads programs and maps with other eyes",        "bpftool",         "bpftool",         "bpf"),
    program("xdp-filter",   "a foreign XDP program, and the speed to beat",   "xdp-tools",       "xdp-tools",       "xdp-tools"),
    program("wg",           "configures the VPN side",                        "wireguard-tools", "wireguard-tools", "wireguard-tools"),
    program("wireguard-go", "a real tunnel where the kernel has none",        "wireguard-go",    "",                "wireguard-go"),
    program("prometheus",   "scrapes; promtool checks metrics and alerts",    "prometheus",      "",                "prometheus"),
    program("curl",         "a real HTTP client",                             "curl",            "curl",            "curl"),
    program("nmap",         "scans as an attacker does",                      "nmap",            "nmap",            "nmap"),
    program("hping3",       "sends odd and forged packets",                   "hping3",          "hping3",          "hping"),
    program("strace",       "lets a system call of the guard's fail",         "strace",          "strace",          "strace"),
    program("tcpdump",      "sees what really arrives",                       "tcpdump",         "tcpdump",         "tcpdump"),
    program("dockerd",      "publishes ports as people's Docker does",        "docker.io",       "moby-engine",     "docker"),
    program("pasta",        "a rootless container's way out: it listens",     "passt",           "passt",           "passt"),
    program("slirp4netns",  "the same, before pasta",                         "slirp4netns",     "slirp4netns",     "slirp4netns"),
    program("podman",       "its rootlessport, which says nothing",           "podman",          "podman",          "podman"),
    program("newuidmap",    "the users of rootless containers",               "uidmap",          "shadow-utils",    "shadow"),
    program("busybox",      "the whole image of the test's containers",       "busybox-static",  "busybox",         "busybox"),
    program("python3",      "serves as the Ollama of small tests",            "python3",         "python3",         "python"),
];

/// What they use on a machine that nobody lives on: its package starts a firewall that closes most ports.
#[rustfmt::skip]
pub(crate) const DISPOSABLE: &[Need] = &[
    //       what              why                                  apt          dnf          pacman
    program("firewalld",      "the same, with a daemon of its own", "firewalld", "firewalld", "firewalld"),
    program("fail2ban-regex", "finds the guard's lines in a log",   "fail2ban",  "fail2ban",  "fail2ban"),
];

/// What the tests in virtual machines need.
#[rustfmt::skip]
pub(crate) const MACHINE: &[Need] = &[
    //       what                  why                                           apt                dnf                   pacman
    program("qemu-system-x86_64", "runs other kernels than this machine's",      "qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86"),
    program("debootstrap",        "makes the system that `--vm boot` boots",     "debootstrap",     "debootstrap",       "debootstrap"),
    program("cpio",               "packs it",                                    "cpio",            "cpio",              "cpio"),
    program("ebtables-legacy",    "tells a bridge to route what it would bridge", "ebtables",        "ebtables-legacy",   "ebtables"),
    program("depmod",             "lists the modules of an unpacked kernel",     "kmod",            "kmod",              "kmod"),
    program("ipvsadm",            "virtual services, as load balancers set them", "ipvsadm",         "ipvsadm",           "ipvsadm"),
];

/// A compiler with its library source, for distributions whose rustc is new enough; rustup is asked first.
pub(crate) const COMPILER: Packages =
    Packages { apt: "rustc-web rust-web-src", dnf: "rust rust-src", pacman: "rust rust-src" };
