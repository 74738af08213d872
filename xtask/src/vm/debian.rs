//! Kernels from Debian's archive, through an apt with a configuration of its own: the machine's lists, sources and
//! packages stay as they are.

use super::output;
use crate::sh;
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Signs Debian's archive; verified as for the machine's own packages.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Always depends on the current kernel of its release.
const META: &str = "linux-image-cloud-amd64";
/// Lists and one kernel are some 60 MB.
const LIMIT: Duration = Duration::from_mins(5);

/// An unpacked kernel package.
pub(super) struct Kernel {
    /// As `uname -r` will say.
    pub(super) version: String,
    /// What it is unpacked into.
    pub(super) root: PathBuf,
}

impl Kernel {
    /// What QEMU boots: in /boot or, in newer releases, beside the modules.
    pub(super) fn image(&self) -> PathBuf {
        let beside = self.root.join("lib/modules").join(&self.version).join("vmlinuz");
        if beside.is_file() { beside } else { self.root.join("boot").join(format!("vmlinuz-{}", self.version)) }
    }
}

/// A release of Debian, and where its things are kept.
pub(super) struct Release<'a> {
    name: &'a str,
    apt: PathBuf,
    kernels: PathBuf,
}

impl<'a> Release<'a> {
    pub(super) fn new(name: &'a str, folder: &Path) -> Self {
        Self { name, apt: folder.join("apt").join(name), kernels: folder.join("kernels") }
    }

    /// Its current kernel: what was fetched before, unless the archive has a newer one.
    pub(super) fn kernel(&self) -> Result<Kernel> {
        let stamp = self.apt.join("kernel");
        let version = match self.current() {
            Ok(version) => version,
            // Without network, what was fetched last time serves.
            Err(error) => fs::read_to_string(&stamp).map_err(|_| error)?,
        };
        let kernel = Kernel { root: self.kernels.join(&version), version };
        if !kernel.image().is_file() {
            self.fetch(&kernel)?;
        }
        fs::write(stamp, &kernel.version)?;
        Ok(kernel)
    }

    fn current(&self) -> Result<String> {
        self.configure()?;
        sh::run_within(LIMIT, self.command("apt-get").args(["--quiet=2", "--error-on=any", "update"]))?;
        let depends = self.depends(META)?;
        let kernel = depends.iter().find_map(|package| package.strip_prefix("linux-image-"));
        kernel.map(str::to_owned).with_context(|| format!("{META} of {} depends on no kernel", self.name))
    }

    fn depends(&self, package: &str) -> Result<Vec<String>> {
        let text = output(self.command("apt-cache").args(["depends", "--important", package]))?;
        Ok(text.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_owned).collect())
    }

    fn fetch(&self, kernel: &Kernel) -> Result<()> {
        let package = format!("linux-image-{}", kernel.version);
        // Newer releases put the kernel and its modules into packages of their own, named after the same version.
        let mut packages = self.depends(&package)?;
        packages.retain(|part| part.starts_with("linux-") && part.ends_with(&kernel.version));
        packages.push(package);
        let downloads = self.apt.join("downloads");
        let _ = fs::remove_dir_all(&downloads);
        fs::create_dir_all(&downloads)?;
        let mut apt = self.command("apt-get");
        sh::run_within(LIMIT, apt.current_dir(&downloads).args(["--quiet=2", "download"]).args(&packages))?;
        let files = fs::read_dir(&downloads)?.map(|file| Ok(file?.path())).collect::<std::io::Result<Vec<_>>>()?;
        let unpacked = downloads.join("root");
        for file in files {
            sh::run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&unpacked))?;
        }
        // Modules are below /lib or, in newer releases, below /usr/lib.
        if unpacked.join("usr/lib/modules").is_dir() {
            fs::create_dir_all(unpacked.join("lib"))?;
            fs::rename(unpacked.join("usr/lib/modules"), unpacked.join("lib/modules"))?;
        }
        sh::run(Command::new("depmod").arg("--basedir").arg(&unpacked).arg(&kernel.version))?;
        fs::create_dir_all(&self.kernels)?;
        let _ = fs::remove_dir_all(&kernel.root);
        fs::rename(&unpacked, &kernel.root)?;
        Ok(fs::remove_dir_all(downloads)?)
    }

    /// A whole apt below our folder, that knows this release and nothing else.
    fn configure(&self) -> Result<()> {
        for folder in ["lists/partial", "cache/archives/partial", "empty"] {
            fs::create_dir_all(self.apt.join(folder))?;
        }
        let source = format!("deb [signed-by={KEYRING} arch=amd64] {} {} main\n", mirror()?, self.name);
        fs::write(self.apt.join("sources.list"), source)?;
        fs::write(self.apt.join("status"), "")?;
        let apt = self.apt.display();
        // The machine's own settings stay out: some run commands after an update. But a proxy must be known.
        let acquire = output(Command::new("apt-config").args(["dump", "Acquire"]))?;
        let web: Vec<_> = acquire.lines().filter(|line| line.starts_with("Acquire::http")).collect();
        let web = web.join("\n");
        let configuration = format!(
            "{web}\n\
             Dir::Etc::main \"{apt}/none\";\n\
             Dir::Etc::parts \"{apt}/empty\";\n\
             Dir::Etc::sourcelist \"{apt}/sources.list\";\n\
             Dir::Etc::sourceparts \"{apt}/empty\";\n\
             Dir::Etc::preferences \"{apt}/preferences\";\n\
             Dir::Etc::preferencesparts \"{apt}/empty\";\n\
             Dir::State \"{apt}\";\n\
             Dir::State::lists \"{apt}/lists\";\n\
             Dir::State::status \"{apt}/status\";\n\
             Dir::Cache \"{apt}/cache\";\n\
             APT::Sandbox::User \"\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             Acquire::Retries \"1\";\n\
             Acquire::http::Timeout \"10\";\n"
        );
        Ok(fs::write(self.apt.join("apt.conf"), configuration)?)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.apt.join("apt.conf")).env("LC_ALL", "C");
        command
    }
}

/// Where this machine gets Debian from: a mirror that it is known to reach.
pub(super) fn mirror() -> Result<String> {
    let format = "$(LABEL) $(REPO_URI)";
    let targets = output(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    match targets.lines().find_map(|line| line.strip_prefix("Debian ")) {
        Some(mirror) => Ok(mirror.to_owned()),
        None => bail!("this machine's apt knows no Debian archive (or never fetched its lists: apt-get update)"),
    }
}
