//! slirp4netns's API.

use serde::Deserialize;

use super::protocol;
use crate::derived::Forward;

/// Asks for what is forwarded from the host.
pub(in crate::derived) const QUESTION: &str = r#"{"execute":"list_hostfwd"}"#;

/// Its manual wraps the list in `return`; 1.2.0 does not.
#[derive(Deserialize)]
struct Answer {
    #[serde(alias = "return")]
    entries: Entries,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entries {
    Wrapped { entries: Vec<Entry> },
    Bare(Vec<Entry>),
}

#[derive(Deserialize)]
struct Entry {
    proto: String,
    host_port: u16,
    guest_port: u16,
}

/// Reads the answer. None if it is not one.
pub(in crate::derived) fn forwards(answer: &str, user: Option<u32>) -> Option<Vec<Forward>> {
    let answer: Answer = serde_json::from_str(answer).ok()?;
    let (Entries::Bare(entries) | Entries::Wrapped { entries }) = answer.entries;
    let forward = |entry: Entry| {
        let (protocol, through) = (protocol(&entry.proto)?, "slirp4netns".to_owned());
        let (port, target) = (entry.host_port, entry.guest_port);
        Some(Forward { protocol, port, target, container: None, through, running: true, user })
    };
    Some(entries.into_iter().filter_map(forward).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lists_its_forwards() {
        let bare = r#"{"entries":[{"id":1,"proto":"tcp","host_addr":"0.0.0.0","host_port":8080,"guest_addr":"10.0.2.100",
            "guest_port":11434}]}"#;
        for answer in [bare.to_owned(), format!(r#"{{"return": {bare}}}"#)] {
            let forwards = forwards(&answer, Some(1000)).unwrap();
            assert_eq!((forwards[0].port, forwards[0].target, forwards[0].user), (8080, 11434, Some(1000)));
        }
        assert_eq!(forwards(r#"{"error":{"desc":"no"}}"#, None), None);
    }
}
