//! The real journal: lines arrive with their fields, as `journalctl -o json` shows them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::guard::Guard;
use tests::topology::World;
use tests::{require, requires, wait};

use super::{POLICY, SOON, send};

/// A journal of our own: in a mount namespace with a /run of its own, where nobody else looks. systemd, when it starts a
/// service, says which file its journal is (systemd.exec(5)); here the shell does.
const SCRIPT: &str = "
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal/$(cat /etc/machine-id)
/lib/systemd/systemd-journald &
until test -S /run/systemd/journal/stdout && test -S /run/systemd/journal/socket; do sleep 0.05; done
systemd-cat -t guard sh -c 'JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) exec \"$0\" run --config \"$1\"' \"$1\" \"$2\" &
while :; do
  journalctl --sync --no-pager 2>/dev/null || true
  journalctl -D /run/log/journal -o json --no-pager -a > \"$3.new\" 2>/dev/null || true
  mv \"$3.new\" \"$3\"
  sleep 0.2
done";

#[test]
fn lines_have_fields() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    require!(
        requires::tool("systemd-cat"),
        requires::tool("journalctl"),
        requires::file("/lib/systemd/systemd-journald")
    );
    let world = World::new()?;
    let internet = world.internet()?;
    let guard = Guard::prepare(&world.guard, POLICY)?;
    let (config, out) = (guard.config(), guard.config().with_file_name("journal.json"));
    let (binary, config) = (tests::guard::binary(), config.to_str().context("path")?);
    let arguments = ["-m", "--propagation", "private", "sh", "-c", SCRIPT, "sh"];
    let arguments =
        [&arguments[..], &[binary.to_str().context("path")?, config, out.to_str().context("path")?]].concat();
    let shell = world.guard.spawn("unshare", &arguments)?;
    let entries = || -> Vec<Value> {
        let text = fs::read_to_string(&out).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let find =
        |what: &str| entries().into_iter().find(|entry| entry["MESSAGE"].as_str().is_some_and(|m| m.contains(what)));
    wait::until("the guard to enforce", Duration::from_secs(30), || find("enforcing ").is_some())
        .with_context(|| format!("{}\n{:#?}", shell.log(), entries()))?;
    send(&internet.ns, internet.own.v6.into(), internet.guard.v6.into(), 7)?;
    let rest = wait::value("both lines", SOON, || find(", 6 times"))?;
    let first = find("dropped 2001:db8:1::9").context("the first line")?;
    ensure!(first["MESSAGE"] == "dropped 2001:db8:1::9 → [2001:db8:1::1]:11434/udp on inet0 (untrusted)", "{first:#}");
    for (entry, count) in [(&first, "1"), (&rest, "6")] {
        let fields = ["SRC", "DST", "DPT", "PROTO", "IN", "REASON", "COUNT", "SYSLOG_IDENTIFIER", "PRIORITY"];
        let expected =
            ["2001:db8:1::9", "2001:db8:1::1", "11434", "UDP", "inet0", "untrusted", count, "ollama-guard", "5"];
        for (field, expected) in fields.into_iter().zip(expected) {
            ensure!(entry[field] == expected, "{field}: {entry:#}");
        }
    }
    Ok(())
}
