//! The archive that a kernel unpacks into its first file system: cpio, "newc" (Documentation/driver-api/early-userspace/
//! buffer-format.rst in the kernel's source). Written here: forty lines, against a program that may not be installed.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::{Component, Path, PathBuf},
};

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive being written.
pub(super) struct Archive<W> {
    to: W,
    made: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, made: BTreeSet::new() }
    }

    /// Adds a file, executable, and the folders above it. A second one of the same name is left out.
    pub(super) fn file(&mut self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.below(path)?;
        self.entry(path, PROGRAM, (0, 0), content)
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &Path, target: &str) -> io::Result<()> {
        self.below(path)?;
        self.entry(path, LINK, (0, 0), target.as_bytes())
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, path: &Path, number: (u32, u32)) -> io::Result<()> {
        self.below(path)?;
        self.entry(path, CHARACTER_DEVICE, number, &[])
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.entry(Path::new("TRAILER!!!"), 0, (0, 0), &[])?;
        self.to.flush()
    }

    fn below(&mut self, path: &Path) -> io::Result<()> {
        let mut above: Vec<_> = path.ancestors().skip(1).filter(|above| above.file_name().is_some()).collect();
        above.reverse();
        above.into_iter().try_for_each(|folder| self.entry(folder, FOLDER, (0, 0), &[]))
    }

    fn entry(&mut self, path: &Path, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        let path: PathBuf = path.components().filter(|part| !matches!(part, Component::RootDir)).collect();
        if !self.made.insert(path.clone()) {
            return Ok(());
        }
        let name = path.as_os_str().as_encoded_bytes();
        let number = u32::try_from(self.made.len()).unwrap_or(u32::MAX);
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let length = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        // Inode, mode, user, group, links, time, size, device (twice: the file's, the node's), name, checksum.
        let fields = [number, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, length, 0];
        write!(self.to, "070701")?;
        fields.into_iter().try_for_each(|field| write!(self.to, "{field:08x}"))?;
        self.to.write_all(name)?;
        // Header and name, and the content, each end at a multiple of four.
        self.to.write_all(&[0; 4][..4 - (110 + name.len()) % 4])?;
        self.to.write_all(content)?;
        self.to.write_all(&[0; 3][..content.len().next_multiple_of(4) - content.len()])
    }
}
