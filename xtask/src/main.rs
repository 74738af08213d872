//! Everything a person types to set up, build, run, test and check ollama-guard: `cargo xtask <command>`.

mod bench;
mod bpffs;
mod compile;
mod daemon;
mod dist;
mod fuzz;
mod install;
#[allow(dead_code, reason = "ollama-guard/build.rs uses the rest")]
mod kernel;
mod lint;
mod need;
mod real;
mod run;
mod running;
mod setup;
mod sh;
mod test;
#[allow(dead_code, reason = "ollama-guard/build.rs uses the rest")]
mod toolchain;
mod vm;

use clap::{Parser, Subcommand};
use std::{ffi::OsString, net::IpAddr, path::PathBuf, process::ExitCode};

/// Everything a person types to set up, build, run, test and check ollama-guard.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the build lacks, and say why each is needed
    Setup {
        /// Also what the tests with the real Ollama and the real Tailscale need
        #[arg(long)]
        real: bool,
    },
    /// Set up, then build the program with its kernel programs inside
    Build {
        /// Optimised, as it is shipped
        #[arg(long)]
        release: bool,
    },
    /// Set up, build, and start the guard on this machine, detached; says how to look again and how to undo
    Run {
        /// Arguments for `ollama-guard run`
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// What `run` does once it is root
    #[command(hide = true)]
    Start {
        /// The built program
        binary: PathBuf,
        /// Arguments for `ollama-guard run`
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Set up, build, and run the tests as root
    Test {
        /// One suite: a file of tests/tests by its name, or `unit`
        #[arg(long)]
        only: Option<String>,
        /// In virtual machines, on other kernels: all, or those named (5.10, 6.1, 6.12, newest); `boot` boots a Debian
        /// with the package installed
        #[arg(long, num_args = 0.., value_name = "KERNEL")]
        vm: Option<Vec<String>>,
        /// A filter and options for the test programs
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Inside the machine of `test --vm boot`: what listens there
    #[command(hide = true)]
    Listen,
    /// Outside of it: who knocks
    #[command(hide = true)]
    Knock {
        /// The machine's addresses
        addresses: Vec<IpAddr>,
    },
    /// Set up, build, and measure the cost per packet, compared with no firewall and with others
    Bench {
        /// Tables to measure; without any, all
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Build the packages: a .deb and an archive with an installer, in target/dist
    Dist,
    /// Fuzz the packet, configuration and kernel-message parsers
    Fuzz {
        /// classifier, kernel, config, web, netlink or procfs; without any, each in turn
        target: Option<String>,
        /// How long, each
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Generated packets at full speed, without following coverage: classifier and kernel only
        #[arg(long)]
        generated: bool,
    },
    /// Check formatting, clippy, documentation and dependencies; every warning is an error
    Lint {
        /// Also the oldest compiler, undefined behaviour (Miri), addresses (a sanitizer, as root), coverage, fuzz targets
        #[arg(long)]
        deep: bool,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Setup { real } => setup::setup(real),
        Command::Build { release } => compile::compile(release).map(drop),
        Command::Run { arguments } => run::run(&arguments),
        Command::Start { binary, arguments } => daemon::start(&binary, &arguments),
        Command::Test { vm: Some(kernels), arguments, .. } => vm::test(&kernels, &arguments),
        Command::Test { only, arguments, .. } => test::test(only.as_deref(), &arguments),
        Command::Listen => vm::boot::stand_in::listen(),
        Command::Knock { addresses } => {
            vm::boot::stand_in::knock(&addresses);
            Ok(())
        }
        Command::Bench { arguments } => bench::bench(&arguments),
        Command::Dist => dist::dist().map(drop),
        Command::Fuzz { target, seconds, generated } => fuzz::fuzz(target.as_deref(), seconds, generated),
        Command::Lint { deep } => lint::lint(deep),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
