//! Gets what the tests with real parts need: Ollama, Tailscale, a coordination server, and Ollama's Python client.
//!
//! What a person has on the path already is used. The rest is built from the packages of its own language, once, into
//! the user's cache: nothing is downloaded ready to run, and nothing outside that folder changes but Debian packages.

use crate::{install, sh};
use anyhow::{Context as _, Result, bail};
use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

const OLLAMA: &str = "0.17.4";
const TAILSCALE: &str = "1.98.10";
/// The client library that users have, and the library that writes the tiny model.
const PYTHON: &[&str] = &["ollama==0.6.3", "gguf==0.19.0"];
/// One header of Ollama's that its module archive leaves out is in this source archive.
const MINIAUDIO: &str = "1.71";

/// Makes what is missing; when all is there, looks at a few files and returns.
pub(crate) fn setup() -> Result<()> {
    let parts = Parts { folder: cache()?.join(format!("ollama-{OLLAMA}+tailscale-{TAILSCALE}")) };
    fs::create_dir_all(parts.bin()).with_context(|| format!("cannot make {}", parts.bin().display()))?;
    parts.tailscale()?;
    parts.control()?;
    parts.python()?;
    parts.ollama()?;
    parts.publish()
}

/// The folder of one set of versions.
struct Parts {
    folder: PathBuf,
}

impl Parts {
    fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// The client and the daemon: both from the path or none, because they must be of one version.
    fn tailscale(&self) -> Result<()> {
        let names = ["tailscale", "tailscaled"];
        if self.has(&names) || self.link(&names)? {
            return Ok(());
        }
        say(&format!("building Tailscale {TAILSCALE}: it is not installed here; some four minutes"));
        let packages = names.map(|name| format!("tailscale.com/cmd/{name}@v{TAILSCALE}"));
        self.go(&names, Command::new("go").arg("install").args(packages))
    }

    /// The coordination server, from `tests/real/control`; again whenever its source has changed.
    fn control(&self) -> Result<()> {
        let source = sh::workspace().join("tests/real/control");
        let stamp = self.folder.join("control.source");
        let mut text = String::new();
        for file in ["go.mod", "go.sum", "main.go"] {
            text += &fs::read_to_string(source.join(file)).with_context(|| format!("cannot read {file} of control"))?;
        }
        if self.has(&["control"]) && fs::read_to_string(&stamp).is_ok_and(|built| built == text) {
            return Ok(());
        }
        say("building the coordination server for a tailnet of our own");
        // Version control has nothing to say here, and may refuse to: the source can belong to another user.
        self.go(&["control"], Command::new("go").current_dir(source).args(["install", "-buildvcs=false", "."]))?;
        fs::write(stamp, text).context("cannot note what was built")
    }

    /// A Python environment; made anew when the list of packages changes.
    fn python(&self) -> Result<()> {
        let (venv, stamp, wanted) = (self.folder.join("venv"), self.folder.join("venv.packages"), PYTHON.join(" "));
        if venv.join("bin/python").exists() && fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
            return Ok(());
        }
        say("installing Ollama's Python client into an environment of its own");
        if !sh::succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])) {
            install::install(&["python3-venv"])?;
        }
        sh::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        sh::run(self.pip("install").args(PYTHON))?;
        fs::write(stamp, wanted).context("cannot note what was installed")
    }

    /// Ollama: with cgo, and with the headers that lie in folders which Go's module archives leave out.
    fn ollama(&self) -> Result<()> {
        if self.has(&["ollama"]) || self.link(&["ollama"])? {
            return Ok(());
        }
        say(&format!("building Ollama {OLLAMA}: it is not installed here; some five minutes"));
        let headers = self.ollama_headers()?;
        let include = format!("-I{}", headers.display());
        let package = format!("github.com/ollama/ollama@v{OLLAMA}");
        let mut go = Command::new("go");
        go.args(["install", &package]).env("CGO_ENABLED", "1");
        // Flags from the environment replace Go's default of -O2.
        self.go(&["ollama"], go.env("CGO_CPPFLAGS", &include).env("CGO_CXXFLAGS", format!("-O2 {include}")))
    }

    /// Two headers come from Debian, one from a Python package's source. Returns the folder for `-I`.
    fn ollama_headers(&self) -> Result<PathBuf> {
        let needs = [
            ("/usr/bin/g++", "g++"),
            ("/usr/include/nlohmann/json.hpp", "nlohmann-json3-dev"),
            ("/usr/include/stb/stb_image.h", "libstb-dev"),
        ];
        let missing: Vec<_> =
            needs.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package).collect();
        if !missing.is_empty() {
            say(&format!("Ollama is built with: {}", missing.join(", ")));
            install::install(&missing)?;
        }

        let name = format!("miniaudio-{MINIAUDIO}");
        let sources = self.folder.join("sources");
        let archive = sources.join(format!("{name}.tar.gz"));
        let download = ["--no-deps", "--no-binary", "miniaudio", "--dest"];
        sh::run(self.pip("download").args(download).arg(&sources).arg(format!("miniaudio=={MINIAUDIO}")))?;
        sh::run(Command::new("tar").arg("-C").arg(&sources).arg("-xzf").arg(&archive))?;
        Ok(sources.join(name))
    }

    /// Runs a `go install` that makes these programs, and moves them to their place when they are complete.
    fn go(&self, programs: &[&str], command: &mut Command) -> Result<()> {
        if sh::find_program("go").is_none() {
            bail!(
                "Go is missing: install 1.26.5 or newer (Debian's own is older), then run this again; \
                 what is installed already (ollama, tailscale and tailscaled on the path) need not be built"
            );
        }
        let building = self.folder.join("building");
        sh::run(command.env("GOBIN", &building)).context("is the network up, and Go 1.26.5 or newer?")?;
        for name in programs {
            fs::rename(building.join(name), self.bin().join(name)).with_context(|| format!("{name} was not built"))?;
        }
        Ok(())
    }

    /// The environment's pip, which gives up soon where there is no network.
    fn pip(&self, action: &str) -> Command {
        let mut pip = Command::new(self.folder.join("venv/bin/python"));
        pip.args(["-m", "pip", action, "--quiet", "--retries=1", "--disable-pip-version-check"]);
        pip
    }

    /// Whether these programs are there. A link to one that was uninstalled does not count.
    fn has(&self, programs: &[&str]) -> bool {
        programs.iter().all(|name| self.bin().join(name).exists())
    }

    /// Uses these programs from the path, if all of them are there.
    fn link(&self, programs: &[&str]) -> Result<bool> {
        let found: Option<Vec<_>> = programs.iter().map(|name| sh::find_program(name)).collect();
        let Some(found) = found else { return Ok(false) };
        for (name, program) in programs.iter().zip(found) {
            say(&format!("using {}", program.display()));
            replace_link(&program, &self.bin().join(name))?;
        }
        Ok(true)
    }

    /// Makes this set the one the tests find.
    fn publish(&self) -> Result<()> {
        let current = cache()?.join("current");
        if fs::read_link(&current).is_ok_and(|target| target == self.folder) {
            return Ok(());
        }
        replace_link(&self.folder, &current)?;
        say(&format!("the real parts are in {}", self.folder.display()));
        Ok(())
    }
}

/// Where the sets lie. The tests look here too (`tests/src/real/parts.rs`).
fn cache() -> Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(cache.join("ollama-guard/real"))
}

/// Makes a symbolic link, in the place of an older one.
fn replace_link(target: &Path, link: &Path) -> Result<()> {
    if link.is_symlink() {
        fs::remove_file(link).with_context(|| format!("cannot remove {}", link.display()))?;
    }
    symlink(target, link).with_context(|| format!("cannot make the link {}", link.display()))
}

fn say(what: &str) {
    eprintln!("real parts: {what}");
}
