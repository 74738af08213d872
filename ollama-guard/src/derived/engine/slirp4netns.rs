//! slirp4netns's API.

use serde::Deserialize;

use super::protocol;
use crate::derived::{Forward, Word};

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
pub(in crate::derived) fn forwards(answer: &str, user: u32) -> Option<Vec<Forward>> {
    let answer: Answer = serde_json::from_str(answer).ok()?;
    let (Entries::Bare(entries) | Entries::Wrapped { entries }) = answer.entries;
    let forward = |entry: Entry| {
        let (protocol, ports) = (protocol(&entry.proto)?, entry.host_port..=entry.host_port);
        let (target, word) = (entry.guest_port, Word::User(user));
        Some(Forward { protocol, ports, target, container: None, through: "slirp4netns", running: true, word })
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
            let forwards = forwards(&answer, 1000).unwrap();
            assert_eq!((forwards[0].port_to(11434), &forwards[0].word), (Some(8080), &Word::User(1000)));
        }
        assert_eq!(forwards(r#"{"error":{"desc":"no"}}"#, 0), None);
    }
}
