//! The command line. Help, man page and shell completions all come from these definitions.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Close the Ollama port in the kernel on every interface except the VPN and loopback
///
/// Ollama has no password. ollama-guard makes its port (11434) unreachable from every network except those you
/// trust: this machine itself, Tailscale and WireGuard, unless the configuration says otherwise. Packets from
/// anywhere else are dropped in the kernel and counted, before Docker or the firewall see them.
#[derive(Debug, Parser)]
#[command(name = "ollama-guard", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = EXIT_CODES)]
pub struct Cli {
    /// Configuration file [default: /etc/ollama-guard/config.toml; if there is none, built-in defaults]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 fine · 1 failed · 2 wrong usage or configuration · 3 status: not (fully) enforcing

To begin: `ollama-guard check` shows what would be guarded, `sudo ollama-guard run` guards it,
`sudo ollama-guard status` shows what was dropped, `sudo ollama-guard down` undoes everything.";

/// The commands, one file each under `command/`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Guard the port and stay: this is the service
    ///
    /// Closes the port on every interface, present and future, and watches for changes until it is stopped.
    /// Stopping it leaves the port closed; only `ollama-guard down` opens it again. SIGHUP applies a changed
    /// configuration.
    Run(RunArgs),
    /// Show what is guarded, how, and what was dropped, per interface
    ///
    /// Reads the truth from the kernel, so it is right even while nothing runs. Exits with 3 if the port is
    /// not, or not fully, closed.
    Status(StatusArgs),
    /// Show who sent packets to the guarded ports
    Sources(SourcesArgs),
    /// Show drops as they happen
    ///
    /// The first of a sender at once, then one line a second about it with a count. The daemon must be running; any
    /// number of these may run at a time. The same lines are in the daemon's log, as far as they fit.
    Events(EventsArgs),
    /// Print the metrics once, or write them to a file for node_exporter
    ///
    /// The daemon serves the same, and senders one by one besides, under `[metrics] listen`. This is for hosts whose
    /// node_exporter is scraped already: run it every minute with --textfile.
    Metrics(MetricsArgs),
    /// Validate the configuration and say in words what it means
    ///
    /// Changes nothing and needs no privileges; root also sees which process listens on which port. Exits with 2 and names file, line and key if something is wrong.
    Check(CheckArgs),
    /// Stop guarding and remove everything ollama-guard put into the kernel
    ///
    /// Detaches the programs, removes their pins and the nftables table `inet ollama_guard`. The port is open
    /// afterwards.
    Down(DownArgs),
    /// Apply a changed configuration, and return once it is in force
    ///
    /// Exits with 2 and names file, line and key if something is wrong with it, and with 1 if it could not be put in
    /// force; what was in force then stays.
    Reload,
    /// What the service needs root's rights for, before it starts without
    ///
    /// Validates the configuration, also against what listens on this host, and hands the pins to the service's user.
    #[command(hide = true)]
    Prepare,
}

/// Options of `run`.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {}

/// Options of `status`.
#[derive(Args, Clone, Debug, Default)]
pub struct StatusArgs {
    /// Print one JSON document for scripts (documented in docs/json.md)
    #[arg(long)]
    pub json: bool,
    /// Keep printing, with rates, every SECONDS until interrupted; with --json one document a line
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub watch: Option<u32>,
    /// Print nothing, only exit: 0 if everything is enforced, else 3
    #[arg(long, short, conflicts_with_all = ["json", "watch", "all"])]
    pub quiet: bool,
    /// List every interface, quiet ones too, and why each is attached the way it is
    #[arg(long, short)]
    pub all: bool,
}

/// Options of `sources`.
#[derive(Args, Clone, Debug, Default)]
pub struct SourcesArgs {
    /// Print one JSON document for scripts (documented in docs/json.md)
    #[arg(long)]
    pub json: bool,
    /// Show only the N sources with the most dropped packets
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub top: Option<u32>,
}

/// Options of `events`.
#[derive(Args, Clone, Debug, Default)]
pub struct EventsArgs {
    /// Print one JSON document a line for scripts (documented in docs/json.md)
    #[arg(long)]
    pub json: bool,
}

/// Options of `metrics`.
#[derive(Args, Clone, Debug, Default)]
pub struct MetricsArgs {
    /// Replace FILE, in one step, instead of printing; FILE must end in .prom for node_exporter to read it
    #[arg(long, value_name = "FILE")]
    pub textfile: Option<PathBuf>,
}

/// Options of `check`.
#[derive(Args, Clone, Debug, Default)]
pub struct CheckArgs {
    /// Print the effective policy, or the errors, as JSON
    #[arg(long)]
    pub json: bool,
    /// Print errors only
    #[arg(long, short, conflicts_with = "json")]
    pub quiet: bool,
}

/// Options of `down`.
#[derive(Args, Clone, Debug, Default)]
pub struct DownArgs {}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn config_is_accepted_before_and_after_the_command() {
        for line in [["ollama-guard", "--config", "f", "check"], ["ollama-guard", "check", "--config", "f"]] {
            assert_eq!(Cli::try_parse_from(line).unwrap().config, Some("f".into()));
        }
    }

    #[test]
    fn watch_has_an_optional_period() {
        let watch = |argument| match Cli::try_parse_from(["ollama-guard", "status", argument]).map(|cli| cli.command) {
            Ok(Command::Status(args)) => args.watch,
            other => panic!("{other:?}"),
        };
        assert_eq!(watch("--watch"), Some(1));
        assert_eq!(watch("--watch=5"), Some(5));
        assert_eq!(watch("--all"), None);
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        for line in [&["ollama-guard"][..], &["ollama-guard", "stauts"], &["ollama-guard", "status", "-q", "--json"]] {
            assert_eq!(Cli::try_parse_from(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }
}
