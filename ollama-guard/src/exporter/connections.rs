//! Connections, bounded in number, time and size: whoever is slow makes room for who comes after.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::listener::{Accepted, Stream};
use super::pages;
use super::reader::Reader;
use super::web::{Users, Web};

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
pub(super) struct Connections(VecDeque<(Option<IpAddr>, AbortHandle)>);

impl Connections {
    /// Serves a connection. Where there are too many, the source with the most loses its oldest.
    pub(super) fn add(&mut self, (stream, source): Accepted, web: Web, reader: &Arc<Mutex<Reader>>) {
        self.0.retain(|(_, task)| !task.is_finished());
        if self.0.len() >= MOST {
            let count = |source| self.0.iter().filter(|(other, _)| *other == source).count();
            let most = self.0.iter().map(|(source, _)| *source).max_by_key(|source| count(*source));
            let oldest = self.0.iter().position(|(source, _)| Some(*source) == most);
            if let Some((_, oldest)) = oldest.and_then(|oldest| self.0.remove(oldest)) {
                oldest.abort();
            }
        }
        self.0.push_back((source, tokio::spawn(serve(stream, source, web, Arc::clone(reader))).abort_handle()));
    }
}

async fn serve(stream: Pin<Box<dyn Stream>>, source: Option<IpAddr>, web: Web, reader: Arc<Mutex<Reader>>) {
    let Web { tls, users } = web;
    // What a client does wrong is its own affair: a log of it would be a way to fill the disk.
    let _ = match tls {
        None => timeout(LIFE, converse(stream, source, users, reader)).await,
        Some(tls) => match timeout(REQUEST, tls.accept(stream)).await {
            Ok(Ok(stream)) => timeout(LIFE, converse(stream, source, users, reader)).await,
            Ok(Err(_)) | Err(_) => return,
        },
    };
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    source: Option<IpAddr>,
    users: Option<Arc<Users>>,
    reader: Arc<Mutex<Reader>>,
) {
    let answer = service_fn(|request: Request<Incoming>| {
        let (users, reader) = (users.clone(), Arc::clone(&reader));
        async move {
            if let Some(users) = users {
                let authorization = request.headers().get(AUTHORIZATION);
                if !users.admit(source, authorization.map(HeaderValue::as_bytes)).await {
                    return Ok::<_, Infallible>(pages::who_are_you());
                }
            }
            // This thread has nothing better to do than to wait for the kernel.
            Ok(pages::respond(&request, &mut reader.lock().unwrap_or_else(PoisonError::into_inner)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(SIZE)
        .serve_connection(TokioIo::new(stream), answer);
    let _ = connection.await;
}
