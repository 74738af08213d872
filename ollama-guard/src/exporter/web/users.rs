//! Who may read the metrics: names and bcrypt hashes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use ring::hmac::{HMAC_SHA256, Key, sign};
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Compared with where there is no such user, so that it takes as long: the hash of nothing that anybody knows.
const NOBODY: &str = "$2b$10$CwTycUXWue0Thq9StjUM0uJ8pKOhzE9XDGVgUJ1T4yjc5zJdIRGFK";
/// After a wrong password: bounds what guessing costs us, and what it yields.
const PAUSE: Duration = Duration::from_millis(500);

/// Guesses of one source that are in line at a time: one is being checked, the next is ready. Others get their turn between.
const IN_LINE: usize = 2;
/// Wrong credentials remembered, so that they are not checked twice.
const MOST_WRONG: usize = 1024;

/// A digest of credentials, with a key of this process: nobody outside can work one out.
type Mark = Vec<u8>;

/// Names and hashes.
pub(in crate::exporter) struct Users {
    hashes: BTreeMap<String, String>,
    key: Key,
    /// Credentials that were right: bcrypt takes long on purpose, and Prometheus comes every few seconds.
    right: Mutex<BTreeSet<Mark>>,
    wrong: Mutex<BTreeSet<Mark>>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
    lines: Mutex<BTreeMap<Option<IpAddr>, Arc<Semaphore>>>,
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
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new());
        let key = key.map_err(|_| ("basic_auth_users", "the system has no random numbers".to_owned()))?;
        Ok(Self {
            hashes: hashes.clone(),
            key,
            right: Mutex::default(),
            wrong: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            lines: Mutex::default(),
        })
    }

    /// Does this `Authorization` (RFC 7617) name a user and the right password? Credentials that were right once are known
    /// at once, whatever others guess meanwhile.
    pub(in crate::exporter) async fn admit(&self, source: Option<IpAddr>, authorization: Option<&[u8]>) -> bool {
        let Some((user, password)) = authorization.and_then(credentials) else { return false };
        let hash = self.hashes.get(&user).map_or(NOBODY, String::as_str).to_owned();
        let mark = self.mark(&[user.as_bytes(), hash.as_bytes(), password.as_bytes()]);
        if locked(&self.right).contains(&mark) {
            return true;
        }
        if !locked(&self.wrong).contains(&mark) {
            if self.check(source, hash, password).await && self.hashes.contains_key(&user) {
                locked(&self.right).insert(mark);
                return true;
            }
            let mut wrong = locked(&self.wrong);
            if wrong.len() >= MOST_WRONG {
                wrong.clear();
            }
            wrong.insert(mark);
        }
        sleep(PAUSE).await;
        false
    }

    async fn check(&self, source: Option<IpAddr>, hash: String, password: String) -> bool {
        let line = {
            let mut lines = locked(&self.lines);
            lines.retain(|_, line| Arc::strong_count(line) > 1);
            Arc::clone(lines.entry(source).or_insert_with(|| Arc::new(Semaphore::new(IN_LINE))))
        };
        let _place = line.acquire().await;
        let _turn = self.turn.lock().await;
        matches!(spawn_blocking(move || bcrypt::verify(password, &hash)).await, Ok(Ok(true)))
    }

    fn mark(&self, parts: &[&[u8]]) -> Mark {
        // Lengths, so that no two lists of parts look the same.
        let text: Vec<u8> = parts.iter().flat_map(|part| [&part.len().to_ne_bytes()[..], part].concat()).collect();
        sign(&self.key, &text).as_ref().to_vec()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn credentials(authorization: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = std::str::from_utf8(authorization).ok()?.split_once(' ')?;
    let plain = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
    let (user, password) = std::str::from_utf8(&plain).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
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
            runtime.block_on(users.admit(None, Some(header.as_bytes())))
        };
        for _ in 0..2 {
            assert!(admit("alice:se:cret"));
        }
        assert!(!admit("alice:secret") && !admit("bob:se:cret") && !admit("alice") && !admit(""));
        for header in [None, Some(&b"Bearer x"[..]), Some(b"Basic !!"), Some(b"\xff \xff")] {
            assert!(!runtime.block_on(users.admit(None, header)));
        }
        assert!(HashParts::from_str(NOBODY).is_ok());
    }

    fn header(text: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(text)).into_bytes()
    }

    /// A hundred different guesses from one address: who has the password is let in from another after a check or two, and
    /// at once when he comes again.
    #[tokio::test]
    async fn guessing_keeps_nobody_out() {
        let users =
            Arc::new(Users::new(&BTreeMap::from([("alice".to_owned(), bcrypt::hash("secret", 10).unwrap())])).unwrap());
        let (attacker, friend) = (Some("192.0.2.1".parse().unwrap()), Some("192.0.2.2".parse().unwrap()));
        let start = std::time::Instant::now();
        users.check(None, NOBODY.to_owned(), String::new()).await;
        let one = start.elapsed();
        let guess = |number: u32| {
            let users = Arc::clone(&users);
            tokio::spawn(async move { users.admit(attacker, Some(&header(&format!("alice:{number}")))).await })
        };
        let guesses: Vec<_> = (0..100).map(guess).collect();
        tokio::task::yield_now().await;
        for most in [8, 1] {
            let start = std::time::Instant::now();
            assert!(users.admit(friend, Some(&header("alice:secret"))).await);
            assert!(start.elapsed() < one * most, "{:?}, and one check takes {one:?}", start.elapsed());
        }
        assert!(guesses.iter().any(|guess| !guess.is_finished()), "they were all done: nothing was tested");
        guesses.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
