//! Connections, bounded in number, time and size: whoever is slow makes room for who comes after.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::listener::Stream;
use super::pages;
use super::reader::Reader;

/// Most connections at a time. Beyond that, the oldest is closed: it has had its time.
const MOST: usize = 64;
/// Time for a request to be there in full, from the beginning or from the last answer on.
const REQUEST: Duration = Duration::from_secs(5);
/// Time for everything, a slow reader of answers included. Prometheus connects anew without a word.
const LIFE: Duration = Duration::from_mins(1);
/// Longest request in bytes; hyper keeps no smaller buffer than half of this.
const SIZE: usize = 16 << 10;

/// The open connections, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Connections(VecDeque<AbortHandle>);

impl Connections {
    /// Serves a connection.
    pub(super) fn add(&mut self, stream: Pin<Box<dyn Stream>>, reader: &Arc<Mutex<Reader>>) {
        self.0.retain(|task| !task.is_finished());
        if self.0.len() >= MOST
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(tokio::spawn(serve(stream, Arc::clone(reader))).abort_handle());
    }
}

async fn serve(stream: Pin<Box<dyn Stream>>, reader: Arc<Mutex<Reader>>) {
    let answer = service_fn(|request| {
        // This thread has nothing better to do than to wait for the kernel.
        let response = pages::respond(&request, &mut reader.lock().unwrap_or_else(PoisonError::into_inner));
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(SIZE)
        .serve_connection(TokioIo::new(stream), answer);
    // What a client does wrong is its own affair: a log of it would be a way to fill the disk.
    let _ = timeout(LIFE, connection).await;
}
