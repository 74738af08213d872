//! A kernel without nftables: the eBPF layer stands all the same, and status says what is missing, and why.

use std::fs;

use anyhow::{Result, ensure};
use tests::claims::{attempts, silent};
use tests::guard::Guard;
use tests::listener::Listener;
use tests::topology::World;
use tests::{leftovers, require, requires, wait};

const PORT: u16 = 11434;

/// Starts a program for which the kernel has no netlink family for netfilter: `socket` answers as it does where
/// `nfnetlink` is missing (EPROTONOSUPPORT, `netlink_create` in `net/netlink/af_netlink.c`). The rest of netlink works.
const WITHOUT: &str = r#"
import ctypes, os, struct, sys
AF_NETLINK, NETLINK_NETFILTER, EPROTONOSUPPORT = 16, 12, 93
LOAD, EQUAL, RETURN, ALLOW, ERRNO = 0x20, 0x15, 0x06, 0x7fff0000, 0x00050000
socket = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
# struct seccomp_data: the number, the architecture, the instruction pointer, six arguments of eight bytes.
number, family, protocol = 0, 16, 32
code = [(LOAD, 0, 0, number), (EQUAL, 0, 5, socket), (LOAD, 0, 0, family), (EQUAL, 0, 3, AF_NETLINK),
        (LOAD, 0, 0, protocol), (EQUAL, 0, 1, NETLINK_NETFILTER), (RETURN, 0, 0, ERRNO | EPROTONOSUPPORT),
        (RETURN, 0, 0, ALLOW)]
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = ctypes.create_string_buffer(struct.pack("HP", len(code), ctypes.addressof(filters)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(22, 2, program, 0, 0) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    sys.exit("seccomp: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn the_wall_stands_without_nftables() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard(), requires::tool("python3"));
    let (world, folder) = (World::new()?, leftovers::folder()?);
    let internet = world.internet()?;
    let listener = Listener::http(&world.guard, PORT)?;
    let script = folder.path().join("without.py");
    fs::write(&script, WITHOUT)?;

    let mut guard = Guard::prepare(&world.guard, "")?;
    guard.wrap(&["python3", &script.display().to_string()]);
    guard.run()?;
    wait::until("the guard to enforce", std::time::Duration::from_secs(30), || guard.log().contains(" enforcing "))?;
    ensure!(guard.log().contains("the nftables layer is not in place"), "{}", guard.log());
    silent(&listener, PORT, &attempts([&internet]))?;
    ensure!(guard.interface("inet0")?["hook"] == "tcx", "{:#}", guard.interface("inet0")?);

    let output = guard.command(&["status", "--json"])?;
    ensure!(output.status.code() == Some(3), "{}", output.status);
    let status = guard.status()?;
    ensure!(status["enforcing"] == false && status["seatbelt"]["installed"] == false, "{status:#}");
    let problems = status["problems"].to_string();
    ensure!(problems.contains("nftables is not available") && problems.contains("nf_tables"), "{problems}");
    ensure!(!world.guard.run("nft", &["list", "tables"])?.contains("ollama_guard"), "the kernel has a table of ours");

    // Those who must may say so, and then it is no problem.
    guard.reload("seatbelt = false")?;
    guard.status_when("the missing layer to be what was asked for", |status| status["seatbelt"]["wanted"] == false)?;
    silent(&listener, PORT, &attempts([&internet]))?;
    guard.stop()?;
    guard.down()
}
