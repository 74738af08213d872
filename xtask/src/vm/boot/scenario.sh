#!/bin/bash
# What happens to the machine, and what must be true each time. Says so on the console, where the other side reads.
set -u
exec >/dev/ttyS0 2>&1
phase=$(sed 's/.*boot.phase=\([a-z]*\).*/\1/' /proc/cmdline)

say() { echo "@boot $*"; }

finish() {
    say "$1"
    sleep 1
    systemctl --no-block "$2"
    exit 0
}

fail() {
    systemctl status --no-pager --lines=20 ollama-guard.service ollama.service
    journalctl --no-pager --lines=60 --unit=ollama-guard.service
    ollama-guard status
    finish "failed $*" poweroff
}

# Waits, with a limit, until the command succeeds.
eventually() {
    local limit=$((SECONDS + 120))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$limit" ] || fail "waited in vain for: $*"
        sleep 0.2
    done
}

# Loopback is served, and only loopback: here, and by the listener's log.
served() {
    local answer
    exec 3<>/dev/tcp/127.0.0.1/11434 || fail "$1: loopback is not served"
    printf 'GET / HTTP/1.0\r\n\r\n' >&3
    answer=$(cat <&3)
    exec 3>&-
    case "$answer" in *"Ollama is running"*) ;; *) fail "$1: loopback got: $answer" ;; esac
    if grep '^11434 ' /var/log/ollama | grep -qv ' \(127\.0\.0\.1\|::1\)$'; then
        fail "$1: the listener's log has strangers: $(grep -c '^11434 ' /var/log/ollama)"
    fi
}

guarded() {
    eventually ollama-guard status --quiet
    served "$1"
    say "$1: enforcing, loopback served, no stranger in the listener's log"
}

main_pid() { systemctl show --property=MainPID --value ollama-guard.service; }
new_pid() { [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && systemctl is-active --quiet ollama-guard.service; }

eventually systemctl is-active --quiet ollama.service
eventually grep -q listening /var/log/ollama
# The neighbour reaches what is not guarded, so it would reach what is.
eventually grep -q '^11435 10\.77\.0\.1$' /var/log/ollama
eventually grep -q '^11435 fd77::1$' /var/log/ollama
guarded "$phase boot"
[ "$phase" = between ] && finish "end of a life between: reboot" reboot

if [ "$phase" = first ]; then
    pid=$(main_pid)
    user=$(stat --format=%U "/proc/$pid")
    [ "$user" = ollama-guard ] || fail "the daemon runs as $user"
    useradd member && usermod -aG ollama-guard member && useradd stranger
    setpriv --reuid member --regid member --init-groups ollama-guard status --quiet || fail "a member of the group may not ask"
    setpriv --reuid member --regid member --init-groups timeout 60 ollama-guard events --json 2>&1 | head -1 >/tmp/event
    grep -q '10\.77\.0\.1\|fd77::1' /tmp/event || fail "a member's events: $(cat /tmp/event)"
    setpriv --reuid stranger --regid stranger --init-groups ollama-guard status 2>/tmp/refusal && fail "a stranger may ask"
    grep -q 'usermod -aG ollama-guard' /tmp/refusal || fail "a stranger is told: $(cat /tmp/refusal)"
    exec 3<>/dev/tcp/127.0.0.1/19434 && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 && cat <&3 >/tmp/metrics
    exec 3>&-
    grep -q '^ollama_guard_enforcing 1' /tmp/metrics || fail "the metrics say: $(head -c 300 /tmp/metrics)"
    say "daemon $(ps -o rss= -p "$pid") kB as $user, members of its group may ask, metrics by socket activation"

    before=$(main_pid)
    systemctl reload ollama-guard.service || fail "reload"
    [ "$(main_pid)" = "$before" ] || fail "a reload started another daemon"
    guarded reload
    cp /etc/ollama-guard/config.toml /tmp/config.toml
    echo 'nonsense = 1' >/etc/ollama-guard/config.toml
    systemctl reload ollama-guard.service 2>/dev/null && fail "a faulty file reloads"
    guarded "reload of a faulty file refused"
    cp /tmp/config.toml /etc/ollama-guard/config.toml

    kill -9 "$(main_pid)"
    eventually new_pid "$before"
    guarded "kill -9"

    nft flush ruleset
    guarded "nft flush ruleset"

    before=$(main_pid)
    systemctl stop ollama-guard.service
    systemctl is-active --quiet ollama-guard-metrics.socket && fail "a scrape would start what was stopped"
    sleep 2
    served stop
    systemctl start ollama-guard.service
    guarded "stop and start"

    before=$(main_pid)
    dpkg --install /ollama-guard.deb >/tmp/upgrade 2>&1 || fail "upgrade: $(cat /tmp/upgrade)"
    eventually new_pid "$before"
    guarded upgrade

    finish "end of the first life: reboot" reboot
fi

say "removing the guard: down, then the package"
ollama-guard down >/tmp/down || fail "down: $(cat /tmp/down)"
grep -q 'NO LONGER GUARDED' /tmp/down || fail "down says: $(cat /tmp/down)"
inactive() { ! systemctl is-active --quiet ollama-guard.service && ! systemctl is-active --quiet ollama-guard-metrics.socket; }
eventually inactive
sleep 5
inactive || fail "down did not last"
[ -e /sys/fs/bpf/ollama-guard ] && fail "down left pins"
systemctl start ollama-guard.service || fail "start after down"
eventually ollama-guard status --quiet
: >/var/log/ollama
served "start after down"
say "removing: down lasts until the service is started again, and then nobody gets in"
dpkg --remove ollama-guard >/tmp/remove 2>&1 || fail "remove: $(cat /tmp/remove)"
grep -q 'NO LONGER GUARDED' /tmp/remove || fail "removal says: $(cat /tmp/remove)"
nft list ruleset | grep -q ollama_guard && fail "the table is still there"
[ -e /sys/fs/bpf/ollama-guard ] && fail "the pins are still there"
# The neighbour gets in now: until here it was the guard that kept it out.
eventually grep -q '^11434 10\.77\.0\.1$' /var/log/ollama
say "removing left the port open, as it said, and no trace in the kernel"
dpkg --purge ollama-guard >/tmp/purge 2>&1 || fail "purge: $(cat /tmp/purge)"
[ -e /etc/ollama-guard ] && fail "purge left /etc/ollama-guard"
getent passwd ollama-guard && fail "purge left the user"
say "removing and purging: neither files nor the user are left"

# The other package, on a machine where the neighbour has just been. It lies elsewhere, so the shell must forget.
hash -r
/archive/install.sh >/tmp/install 2>&1 || fail "install.sh: $(cat /tmp/install)"
grep -q 'enforcing ollama' /tmp/install || fail "install.sh says: $(cat /tmp/install)"
eventually ollama-guard status --quiet
: >/var/log/ollama
served "install.sh"
[ "$(stat --format=%U "/proc/$(main_pid)")" = ollama-guard ] || fail "install.sh: another user's daemon"
/archive/install.sh >/tmp/install 2>&1 || fail "install.sh over itself: $(cat /tmp/install)"
served "install.sh, twice"
/archive/install.sh --uninstall >/tmp/uninstall 2>&1 || fail "install.sh --uninstall: $(cat /tmp/uninstall)"
grep -q 'NO LONGER GUARDED' /tmp/uninstall || fail "uninstall says: $(cat /tmp/uninstall)"
left=$(find /usr/local /etc/systemd /etc/sysusers.d -name '*ollama-guard*' -o -name '*ollama?guard*')
[ -z "$left" ] || fail "install.sh --uninstall left: $left"
[ -e /sys/fs/bpf/ollama-guard ] && fail "install.sh --uninstall left pins"
say "removing: the archive's installer guards, and takes everything away"
finish "end of the second life: power off" poweroff
