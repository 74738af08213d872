//! The command line. Help, man page and shell completions all come from these definitions.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

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
    #[arg(long, global = true, value_name = "FILE", display_order = 900)]
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
    /// Guard until stopped (what the service runs)
    ///
    /// Closes the port on every interface, present and future, and watches for changes until it is stopped.
    /// Stopping it leaves the port closed; only `ollama-guard down` opens it again. SIGHUP applies a changed
    /// configuration.
    Run(RunArgs),
    /// Show what is guarded, how, and what was dropped, per interface
    ///
    /// Reads the kernel, so it is correct even when the daemon is not running. Exits with 3 if the port is
    /// not, or not fully, closed.
    Status(StatusArgs),
    /// Show who sent packets to the guarded ports
    Sources(SourcesArgs),
    /// Show drops as they happen
    ///
    /// A source's first packet is shown at once, then at most one line per second with a count. The daemon must be
    /// running; any number of these may run at a time. The same lines are in the daemon's log, up to a rate limit.
    Events(EventsArgs),
    /// Print the metrics once, or write them to a file for node_exporter
    ///
    /// The daemon serves the same, plus per-source series, at the address in `[metrics] listen`. This is for hosts whose
    /// node_exporter is scraped already: run it every minute with --textfile.
    Metrics(MetricsArgs),
    /// Check the configuration and explain it
    ///
    /// Changes nothing and needs no privileges; root also sees which process listens on which port, and which sources were
    /// let through. Exits with 2 and names file, line and key if something is wrong.
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
    /// Root-only preparation before the service drops privileges
    ///
    /// Checks the configuration, also against what listens on this host, and hands the pins to the service's user.
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
    /// Keep printing, with rates, every SECONDS (default 1) until interrupted; with --json one document per line
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = period)]
    pub watch: Option<Duration>,
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
    /// Show only the N sources with the most dropped packets [default on a terminal: 20]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub top: Option<u32>,
    /// List every source, on a terminal too
    #[arg(long, short, conflicts_with = "top")]
    pub all: bool,
}

/// Options of `events`.
#[derive(Args, Clone, Debug, Default)]
pub struct EventsArgs {
    /// Print one JSON document per line for scripts (documented in docs/json.md)
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
    /// Treat warnings as errors: print them with --quiet too, and exit with 2
    #[arg(long)]
    pub strict: bool,
}

/// Options of `down`.
#[derive(Args, Clone, Debug, Default)]
pub struct DownArgs {}

/// Seconds, in whole or in part: long enough for a screen to be read, short enough to be meant.
fn period(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "use a number of seconds from 0.1 to 86400".to_owned())
}

impl Cli {
    /// The definitions without what is hidden: for manual pages and shell completions.
    pub fn documented() -> clap::Command {
        let whole = Self::command();
        let bare = clap::Command::new("ollama-guard").version(env!("CARGO_PKG_VERSION"));
        let bare = bare.about(whole.get_about().cloned().unwrap_or_default());
        let bare = bare.long_about(whole.get_long_about().cloned().unwrap_or_default()).after_help(EXIT_CODES);
        let bare = bare.args(whole.get_arguments()).disable_help_subcommand(true);
        bare.subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()))
    }
}

#[cfg(test)]
mod tests {
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
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.command);
        let watch = |line| match parse(line) {
            Ok(Command::Status(args)) => args.watch.map(|period| period.as_secs_f64()),
            other => panic!("{other:?}"),
        };
        assert_eq!(watch("ollama-guard status --watch"), Some(1.0));
        assert_eq!(watch("ollama-guard status --watch=5"), Some(5.0));
        assert_eq!(watch("ollama-guard status --watch 2"), Some(2.0));
        assert_eq!(watch("ollama-guard status --watch=0.5"), Some(0.5));
        assert_eq!(watch("ollama-guard status --watch --json"), Some(1.0));
        assert_eq!(watch("ollama-guard status --all"), None);
        for wrong in ["0", "0.01", "-1", "NaN", "inf", "86401", "soon"] {
            let error = parse(&format!("ollama-guard status --watch={wrong}")).unwrap_err().to_string();
            assert!(error.contains("from 0.1 to 86400"), "{error}");
        }
    }

    #[test]
    fn the_configuration_file_is_the_last_option_of_a_command_s_own() {
        let help = Cli::try_parse_from(["ollama-guard", "status", "--help"]).unwrap_err().to_string();
        let place = |option: &str| help.find(option).unwrap_or_else(|| panic!("no {option} in {help}"));
        assert!(["--json", "--watch", "--quiet", "--all"].iter().all(|own| place(own) < place("--config")), "{help}");
    }

    #[test]
    fn what_is_hidden_is_not_documented() {
        let documented = Cli::documented();
        let names: Vec<_> = documented.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, ["run", "status", "sources", "events", "metrics", "check", "down", "reload"]);
        documented.debug_assert();
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        for line in [&["ollama-guard"][..], &["ollama-guard", "stauts"], &["ollama-guard", "status", "-q", "--json"]] {
            assert_eq!(Cli::try_parse_from(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }
}
