//! The file as it is written: exporter-toolkit's web configuration, as far as it is understood here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;

use super::users::Users;
use super::{Web, tls};
use crate::config::closest;

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub enum WebError {
    /// It is not what it should be.
    #[error("{}:{line}:{column}: {problem}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
        /// What is wrong; names the key.
        problem: String,
    },
    /// It cannot be read.
    #[error("cannot read the metrics' web configuration {}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that it names cannot be used.
    #[error("{}: {key}: {problem}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// The key that names what cannot be used.
        key: &'static str,
        /// Why not.
        problem: String,
    },
}

impl WebError {
    /// What to do about it.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "correct that line",
            Self::Unusable { .. } => "correct that key, or the file it names",
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "create it (docs/metrics.md shows one), or remove `web_config`"
            }
            Self::Unreadable { .. } => "make it a text file that the user ollama-guard can read",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    tls_server_config: Option<Tls>,
    #[serde(default)]
    basic_auth_users: BTreeMap<String, String>,
}

/// `tls_server_config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert_file: PathBuf,
    pub(super) key_file: PathBuf,
    #[serde(default)]
    pub(super) client_auth_type: ClientAuth,
    pub(super) client_ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) min_version: Version,
}

/// Who must show a certificate. The toolkit's two kinds that do not verify it are left out: they prove nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum ClientAuth {
    #[default]
    NoClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

/// The oldest TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Version {
    #[default]
    Tls12,
    Tls13,
}

/// A file that was read.
pub(super) struct Read {
    path: PathBuf,
    written: Written,
    /// It, and the files that it names.
    pub(super) files: Vec<PathBuf>,
}

/// What a sound file asks of whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asks {
    /// Encryption.
    pub tls: bool,
    /// A certificate of their own.
    pub client_certificates: bool,
    /// A password; how many users have one.
    pub users: usize,
}

/// Is the file, with everything that it names, sound? What it asks for.
pub fn check(path: &Path) -> Result<Asks, WebError> {
    let read = read(path)?;
    read.web()?;
    let Written { tls_server_config: tls, basic_auth_users: users } = &read.written;
    let verifies = |tls: &Tls| tls.client_auth_type == ClientAuth::RequireAndVerifyClientCert;
    Ok(Asks { tls: tls.is_some(), client_certificates: tls.as_ref().is_some_and(verifies), users: users.len() })
}

/// Reads the file; what it names is read by [`Read::web`].
pub(super) fn read(path: &Path) -> Result<Read, WebError> {
    let unreadable = |source| WebError::Unreadable { file: path.to_owned(), source };
    parse(path, &fs::read_to_string(path).map_err(unreadable)?)
}

/// Reads the file's text.
pub(super) fn parse(path: &Path, text: &str) -> Result<Read, WebError> {
    let invalid = |line, column, problem| WebError::Invalid { file: path.to_owned(), line, column, problem };
    let mut written: Written = if text.trim().is_empty() {
        Written { tls_server_config: None, basic_auth_users: BTreeMap::new() }
    } else {
        serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location();
            let (line, column) = place.map_or((1, 1), |place| (place.line(), place.column()));
            invalid(line, column, plain(&error.without_snippet().to_string()))
        })?
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut files = vec![path.to_owned()];
    if let Some(tls) = &mut written.tls_server_config {
        let named = [Some(&mut tls.cert_file), Some(&mut tls.key_file), tls.client_ca_file.as_mut()];
        for file in named.into_iter().flatten() {
            *file = folder.join(&*file); // as the toolkit does; an absolute path stays what it is
            files.push(file.clone());
        }
    }
    Ok(Read { path: path.to_owned(), written, files })
}

/// The first line says what is wrong; its place is told apart.
fn plain(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let first = first.split(" at line ").next().unwrap_or(first).trim_start_matches("error: ");
    misspelt(first).unwrap_or_else(|| first.to_owned())
}

/// What serde says of an unknown key or word: it, in backticks, and all that are known.
fn misspelt(message: &str) -> Option<String> {
    let (what, rest) = message.strip_prefix("unknown ")?.split_once(" `")?;
    let (written, rest) = rest.split_once('`')?;
    let known = rest.split_once("expected ")?.1;
    let known: Vec<&str> =
        known.trim_start_matches("one of ").split(',').map(|word| word.trim().trim_matches('`')).collect();
    let what = if what == "field" { "key" } else { "value" };
    let next_step = match closest(written, &known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("use one of: {}", known.join(", ")),
    };
    Some(format!("unknown {what} `{written}`: {next_step}"))
}

impl Read {
    /// What the file asks for.
    pub(super) fn web(&self) -> Result<Web, WebError> {
        let unusable = |(key, problem)| WebError::Unusable { file: self.path.clone(), key, problem };
        let tls = self.written.tls_server_config.as_ref().map(tls::acceptor).transpose().map_err(unusable)?;
        let users = &self.written.basic_auth_users;
        let users = if users.is_empty() { None } else { Some(Users::new(users).map_err(unusable)?) };
        Ok(Web { tls, users: users.map(Arc::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let folder = std::env::temp_dir().join(format!("og-web-{}-{}", std::process::id(), text.len()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("web.yml");
        fs::write(&path, text).unwrap();
        let error = check(&path).err().map_or_else(|| "sound".to_owned(), |error| error.to_string());
        let _ = fs::remove_dir_all(&folder);
        error.replace(&*folder.to_string_lossy(), "")
    }

    #[test]
    fn a_fault_names_file_line_and_key() {
        let unknown = error("tls_server_config:\n  cert_file: a\n  key_file: b\n  cert_fil: c\n");
        assert!(unknown.starts_with("/web.yml:4:3: ") && unknown.ends_with("did you mean `cert_file`?"), "{unknown}");
        let section = error("tls_server_confg:\n  cert_file: a\n  key_file: b\n");
        assert!(section.ends_with("did you mean `tls_server_config`?"), "{section}");
        let word = error("tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS1.3\n");
        assert!(word.ends_with("did you mean `TLS13`?"), "{word}");
        let version = error("tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: SSL3\n");
        assert!(version.starts_with("/web.yml:4:") && version.contains("TLS12"), "{version}");
        let any =
            error("tls_server_config:\n  cert_file: a\n  key_file: bb\n  client_auth_type: RequireAnyClientCert\n");
        assert!(any.contains("RequireAndVerifyClientCert"), "{any}");
        assert!(error("rate_limit: {}\n").contains("rate_limit"));
        assert!(error("tls_server_config: [").starts_with("/web.yml:1:"), "{}", error("tls_server_config: ["));
        let missing = error("tls_server_config:\n  cert_file: nowhere.pem\n  key_file: nowhere.key\n");
        assert!(missing.contains("cert_file: ") && missing.contains("nowhere.pem"), "{missing}");
        let hash = error("basic_auth_users:\n  alice: secret\n");
        assert!(hash.contains("basic_auth_users") && hash.contains("alice") && !hash.contains("secret"), "{hash}");
        assert_eq!(error(""), "sound");
    }
}
