//! A configuration file that is read again and again.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use super::{ConfigError, built_in, or_default, parse, read_text};
use crate::policy::Policy;

/// Where it is, and what it said.
#[derive(Debug)]
pub struct File {
    /// As somebody typed it; else [`super::DEFAULT_PATH`], which may be missing.
    given: Option<PathBuf>,
    /// Digest of its text, when it was last read without a fault.
    said: Option<u64>,
    digests: RandomState,
}

impl File {
    /// Reads nothing yet.
    pub fn at(path: Option<&Path>) -> Self {
        Self { given: path.map(Path::to_owned), said: None, digests: RandomState::new() }
    }

    /// The file to name in advice.
    pub fn path(&self) -> &Path {
        or_default(self.given.as_deref())
    }

    /// What it says now; `None` if that is what it said the last time. A long allow-list is read a hundred times faster
    /// than understood.
    pub fn news(&mut self) -> Result<Option<Policy>, ConfigError> {
        let text = read_text(self.given.as_deref())?;
        let digest = self.digests.hash_one(&text);
        if self.said == Some(digest) {
            return Ok(None);
        }
        let policy = text.map_or_else(|| Ok(built_in()), |text| parse(self.path(), &text))?;
        self.said = Some(digest);
        Ok(Some(policy))
    }

    /// What it said did not come into force: it will be news again.
    pub fn forget(&mut self) {
        self.said = None;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::policy::Mode;

    #[test]
    fn only_what_is_new_is_told() {
        let path = std::env::temp_dir().join(format!("ollama-guard-file-{}.toml", std::process::id()));
        let mut file = File::at(Some(&path));
        let mut write = |text: &str| {
            fs::write(&path, text).unwrap();
            file.news().map(|policy| policy.map(|policy| policy.mode))
        };
        assert_eq!(write("").unwrap(), Some(Mode::Enforce));
        assert_eq!(write("").unwrap(), None);
        assert_eq!(write("mode = 'observe'").unwrap(), Some(Mode::Observe));
        assert!(write("mode = 'sleep'").is_err());
        assert_eq!(write("mode = 'observe'").unwrap(), None, "that is in force all the while");
        file.forget();
        assert!(file.news().unwrap().is_some());
        fs::remove_file(&path).unwrap();
        assert!(file.news().is_err(), "somebody typed its name");
    }
}
