//! Who may read the metrics: names and bcrypt hashes.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use ring::digest::{SHA256, digest};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Compared with where there is no such user, so that it takes as long: the hash of nothing that anybody knows.
const NOBODY: &str = "$2b$10$CwTycUXWue0Thq9StjUM0uJ8pKOhzE9XDGVgUJ1T4yjc5zJdIRGFK";
/// After a wrong password: bounds what guessing costs us, and what it yields.
const PAUSE: Duration = Duration::from_millis(500);

/// Names and hashes.
pub(in crate::exporter) struct Users {
    hashes: BTreeMap<String, String>,
    /// Digests of credentials that were right: bcrypt takes long on purpose, and Prometheus comes every few seconds.
    known: Mutex<BTreeSet<[u8; 32]>>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Users {
    pub(super) fn new(hashes: &BTreeMap<String, String>) -> Result<Self, (&'static str, String)> {
        for (user, hash) in hashes {
            if HashParts::from_str(hash).is_err() {
                let problem =
                    format!("the password of {user} is not a bcrypt hash; make one with: htpasswd -nBC 10 {user}");
                return Err(("basic_auth_users", problem));
            }
        }
        Ok(Self { hashes: hashes.clone(), known: Mutex::default(), turn: tokio::sync::Mutex::default() })
    }

    /// Does this `Authorization` (RFC 7617) name a user and the right password?
    pub(in crate::exporter) async fn admit(&self, authorization: Option<&[u8]>) -> bool {
        let Some((user, password)) = authorization.and_then(credentials) else { return false };
        let hash = self.hashes.get(&user).map_or(NOBODY, String::as_str).to_owned();
        let mark = mark(&[user.as_bytes(), hash.as_bytes(), password.as_bytes()]);
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&mark) {
            return true;
        }
        let _turn = self.turn.lock().await;
        let right = spawn_blocking(move || bcrypt::verify(password, &hash)).await;
        if matches!(right, Ok(Ok(true))) && self.hashes.contains_key(&user) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(mark);
            return true;
        }
        sleep(PAUSE).await;
        false
    }
}

pub(super) fn credentials(authorization: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = std::str::from_utf8(authorization).ok()?.split_once(' ')?;
    let plain = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
    let (user, password) = std::str::from_utf8(&plain).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn mark(parts: &[&[u8]]) -> [u8; 32] {
    // Lengths, so that no two lists of parts look the same.
    let text: Vec<u8> = parts.iter().flat_map(|part| [&part.len().to_ne_bytes()[..], part].concat()).collect();
    let mut mark = [0; 32];
    mark.copy_from_slice(digest(&SHA256, &text).as_ref());
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_is_admitted() {
        let hashes = BTreeMap::from([("alice".to_owned(), bcrypt::hash("se:cret", 4).unwrap())]);
        let users = Users::new(&hashes).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let admit = |text: &str| {
            let header = format!("Basic {}", STANDARD.encode(text));
            runtime.block_on(users.admit(Some(header.as_bytes())))
        };
        for _ in 0..2 {
            assert!(admit("alice:se:cret"));
        }
        assert!(!admit("alice:secret") && !admit("bob:se:cret") && !admit("alice") && !admit(""));
        for header in [None, Some(&b"Bearer x"[..]), Some(b"Basic !!"), Some(b"\xff \xff")] {
            assert!(!runtime.block_on(users.admit(header)));
        }
        assert!(HashParts::from_str(NOBODY).is_ok());
    }
}
