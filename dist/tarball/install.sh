#!/bin/sh
# Installs ollama-guard on any Linux with systemd, and starts it. It also upgrades an older version without a gap.
#
#     sudo ./install.sh
#     sudo ./install.sh --uninstall    # removes everything, also from the kernel; keeps /etc/ollama-guard
set -eu

here=$(cd "$(dirname "$0")" && pwd)
prefix=/usr/local
units=/etc/systemd/system
program=$prefix/bin/ollama-guard

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

files() {
    echo "$program"
    echo "$units/ollama-guard.service"
    echo "$units/ollama-guard-metrics.socket"
    echo "$units/ollama-guard.service.d/10-containers.conf"
    echo "$units/ollama.service.d/ollama-guard.conf"
    echo /etc/sysusers.d/ollama-guard.conf
    for page in "$here"/man/*; do
        echo "$prefix/share/man/man8/$(basename "$page")"
    done
    echo "$prefix/share/bash-completion/completions/ollama-guard"
    echo "$prefix/share/zsh/site-functions/_ollama-guard"
    echo "$prefix/share/fish/vendor_completions.d/ollama-guard.fish"
}

install_all() {
    if ! why=$("$here/ollama-guard" --version 2>&1); then
        echo "$why" >&2
        fail "the program does not run on this machine. It needs libnftnl and libmnl (dnf install libnftnl libmnl; \
pacman -S libnftnl libmnl; apt install libnftnl11 libmnl0) and glibc 2.34 or newer"
    fi
    install -D -m 755 "$here/ollama-guard" "$program"
    install -D -m 644 "$here/sysusers.d/ollama-guard.conf" /etc/sysusers.d/ollama-guard.conf
    [ -e /etc/ollama-guard/config.toml ] || install -D -m 644 "$here/config.toml" /etc/ollama-guard/config.toml
    for unit in ollama-guard.service ollama-guard.service.d/10-containers.conf ollama-guard-metrics.socket \
        ollama.service.d/ollama-guard.conf; do
        sed "s#/usr/bin/ollama-guard#$program#" "$here/systemd/$unit" | install -D -m 644 /dev/stdin "$units/$unit"
    done
    for page in "$here"/man/*; do
        install -D -m 644 "$page" "$prefix/share/man/man8/$(basename "$page")"
    done
    install -D -m 644 "$here/completions/ollama-guard.bash" "$prefix/share/bash-completion/completions/ollama-guard"
    install -D -m 644 "$here/completions/_ollama-guard" "$prefix/share/zsh/site-functions/_ollama-guard"
    install -D -m 644 "$here/completions/ollama-guard.fish" "$prefix/share/fish/vendor_completions.d/ollama-guard.fish"

    systemd-sysusers ollama-guard.conf
    systemctl daemon-reload
    systemctl enable --quiet ollama-guard.service
    systemctl restart ollama-guard.service || fail "the service did not start; see: journalctl -u ollama-guard"
    "$program" status
}

uninstall() {
    systemctl disable --now --quiet ollama-guard.service || true
    if [ -x "$program" ]; then
        "$program" down
    fi
    files | while read -r file; do rm -f "$file"; done
    rmdir "$units/ollama.service.d" "$units/ollama-guard.service.d" 2>/dev/null || true
    systemctl daemon-reload
    userdel ollama-guard 2>/dev/null || true
    echo "removed ollama-guard; kept /etc/ollama-guard"
}

[ "$(id -u)" = 0 ] || fail "this needs root; run: sudo $0 $*"
[ -d /run/systemd/system ] || fail "this needs systemd; without it, start \`ollama-guard run\` with your own init system"
case "${1-}" in
"") install_all ;;
--uninstall) uninstall ;;
*) fail "usage: install.sh [--uninstall]" ;;
esac
