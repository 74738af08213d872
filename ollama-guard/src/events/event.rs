//! What a reader of events is told: for people as text, for scripts as JSON.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::observe::text::printable;

/// A line of the stream; the document of `events --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// The daemon listens; what happens from now on follows.
    Ready {
        /// The daemon's version.
        version: String,
    },
    /// There are as many readers as there may be: this one is left.
    Full {
        /// How many there may be.
        readers: usize,
    },
    /// A drop.
    Drop(DropEvent),
    /// Events that this stream lacks.
    Missed(Missed),
}

/// Packets of one source that were refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropEvent {
    /// Of the newest, in seconds since the Unix epoch.
    pub time: f64,
    /// Who sent them.
    pub source: IpAddr,
    /// Where the newest was going, if it says.
    pub destination: Option<IpAddr>,
    /// Destination port, if it can be read.
    pub port: Option<u16>,
    /// `tcp` or `udp`, if it is known.
    pub protocol: Option<Cow<'static, str>>,
    /// Where they arrived.
    pub interface: String,
    /// What they were for; none where the port cannot be read.
    pub service: Option<String>,
    /// [`ollama_guard_common::Reason::as_str`] of the newest.
    pub reason: Cow<'static, str>,
    /// `dropped`; `would_drop` in observe mode.
    pub verdict: Cow<'static, str>,
    /// How many, since the line before about this source.
    pub count: u64,
}

/// How many events are missing, and where they were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// Events; each stands for a packet or more.
    pub count: u64,
    /// By whom.
    pub by: Loser,
}

/// Where events are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loser {
    /// There were more than the kernel's budget or its ring has room for.
    Kernel,
    /// This reader did not keep up.
    Reader,
}

impl fmt::Display for DropEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.verdict == "would_drop" { "would drop" } else { "dropped" };
        write!(f, "{verb} {}", self.source)?;
        match (self.destination, self.port) {
            (Some(address), Some(port)) => write!(f, " → {}", SocketAddr::new(address, port))?,
            (Some(address), None) => write!(f, " → {address}")?,
            (None, _) => {}
        }
        if let (Some(protocol), Some(_)) = (&self.protocol, self.destination) {
            write!(f, "/{}", printable(protocol))?;
        }
        write!(f, " on {} ({})", printable(&self.interface), printable(&self.reason))?;
        if self.count == 1 { Ok(()) } else { write!(f, ", {} times", self.count) }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.by {
            Loser::Kernel => "there were too many at once",
            Loser::Reader => "this reader did not keep up",
        };
        write!(f, "… {} more events are not shown: {why}; ollama-guard sources has the numbers", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> DropEvent {
        DropEvent {
            time: 1.5,
            source: "203.0.113.9".parse().unwrap(),
            destination: Some("192.0.2.1".parse().unwrap()),
            port: Some(11434),
            protocol: Some("tcp".into()),
            interface: "eth0".into(),
            service: Some("ollama".into()),
            reason: "untrusted".into(),
            verdict: "dropped".into(),
            count: 12,
        }
    }

    #[test]
    fn people_read_a_sentence() {
        assert_eq!(one().to_string(), "dropped 203.0.113.9 → 192.0.2.1:11434/tcp on eth0 (untrusted), 12 times");
        let v6 = DropEvent {
            source: "2001:db8::9".parse().unwrap(),
            destination: Some("2001:db8::1".parse().unwrap()),
            verdict: "would_drop".into(),
            count: 1,
            ..one()
        };
        assert_eq!(v6.to_string(), "would drop 2001:db8::9 → [2001:db8::1]:11434/tcp on eth0 (untrusted)");
        let hidden = DropEvent { port: None, protocol: None, reason: "fragment".into(), count: 1, ..one() };
        assert_eq!(hidden.to_string(), "dropped 203.0.113.9 → 192.0.2.1 on eth0 (fragment)");
        let rest = DropEvent { destination: None, interface: "e\x1b[2J".into(), count: 2, ..one() };
        assert_eq!(rest.to_string(), "dropped 203.0.113.9 on e?[2J (untrusted), 2 times");
    }

    #[test]
    fn scripts_read_a_document() {
        let text = serde_json::to_string(&Line::Drop(one())).unwrap();
        assert_eq!(
            text,
            r#"{"event":"drop","time":1.5,"source":"203.0.113.9","destination":"192.0.2.1","port":11434,"protocol":"tcp","interface":"eth0","service":"ollama","reason":"untrusted","verdict":"dropped","count":12}"#
        );
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), Line::Drop(one()));
        let missed = Line::Missed(Missed { count: 3, by: Loser::Reader });
        assert_eq!(serde_json::to_string(&missed).unwrap(), r#"{"event":"missed","count":3,"by":"reader"}"#);
    }

    #[test]
    fn people_read_who_missed_events_and_where_their_number_is() {
        let said = |by| Missed { count: 3, by }.to_string();
        let (kernel, reader) = ("there were too many at once", "this reader did not keep up");
        for (by, why) in [(Loser::Kernel, kernel), (Loser::Reader, reader)] {
            assert_eq!(said(by), format!("… 3 more events are not shown: {why}; ollama-guard sources has the numbers"));
        }
    }
}
