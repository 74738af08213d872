//! Docker tells when a container is made, before it publishes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::task::Poll;
use std::time::{Duration, Instant};

use tracing::debug;

use super::engine::docker;
use super::exchange::{Question, ask};

/// A daemon that starts, or that hung up, is tried again after this long.
const RETRY: Duration = Duration::from_secs(10);

/// Of one connection at a time: whoever keeps talking is heard again.
const MOST_READS: usize = 64;

/// Connections to daemons, by the path of their sockets.
#[derive(Debug, Default)]
pub(super) struct Events(BTreeMap<PathBuf, Connection>);

#[derive(Debug)]
enum Connection {
    Open(UnixStream),
    /// It failed then.
    Closed(Instant),
}

impl Events {
    /// Listens to these daemons and no others; true if that has only now begun for one.
    pub(super) fn follow(&mut self, wanted: &BTreeSet<PathBuf>) -> bool {
        self.0.retain(|path, _| wanted.contains(path));
        let mut news = false;
        for path in wanted {
            let due = match self.0.get(path) {
                None => true,
                Some(Connection::Open(_)) => false,
                Some(Connection::Closed(since)) => since.elapsed() >= RETRY,
            };
            if due {
                let question = Question { path: path.clone(), user: 0, text: docker::events() };
                let connection = ask(&question).map_or_else(
                    |error| {
                        debug!("{} does not tell of new containers: {error}", path.display());
                        Connection::Closed(Instant::now())
                    },
                    Connection::Open,
                );
                news |= matches!(connection, Connection::Open(_));
                self.0.insert(path.clone(), connection);
            }
        }
        news
    }

    /// Takes what was said since; true if anything was. What exactly, the next question tells better.
    pub(super) fn heard(&mut self) -> bool {
        let mut heard = false;
        for connection in self.0.values_mut() {
            let Connection::Open(stream) = connection else { continue };
            let mut buffer = [0; 4096];
            for _ in 0..MOST_READS {
                match stream.read(&mut buffer) {
                    Ok(length) if length > 0 => heard = true,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    _ => {
                        (*connection, heard) = (Connection::Closed(Instant::now()), true);
                        break;
                    }
                }
            }
        }
        heard
    }

    /// Waits until something is said. Cancel safe.
    pub(super) async fn said(&self) {
        let streams = self.0.values().filter_map(|connection| match connection {
            Connection::Open(stream) => stream.try_clone().and_then(tokio::net::UnixStream::from_std).ok(),
            Connection::Closed(_) => None,
        });
        let streams: Vec<_> = streams.collect();
        poll_fn(|context| {
            let ready = streams.iter().any(|stream| stream.poll_read_ready(context).is_ready());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
