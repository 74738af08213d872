//! One question, one answer over a unix socket. No HTTP client: the one request made of an engine fits a line, and the
//! daemon's event loop must not wait for an engine that hangs.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// An engine on the same machine answers in milliseconds.
const PATIENCE: Duration = Duration::from_millis(500);
/// Some thousand containers.
const LONGEST: usize = 8 * 1024 * 1024;

/// Sends the question and reads until the other side hangs up.
pub(super) fn exchange(path: &Path, question: &str) -> io::Result<String> {
    let mut stream = ask(path, question)?;
    stream.set_nonblocking(false)?;
    if !question.contains("HTTP/") {
        stream.shutdown(Shutdown::Write)?; // An HTTP server would take it for a client that left.
    }
    let (start, mut answer, mut buffer) = (Instant::now(), Vec::new(), [0; 16 * 1024]);
    while answer.len() < LONGEST {
        let left = PATIENCE.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => return String::from_utf8(answer).map_err(io::Error::other),
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
    Err(io::ErrorKind::FileTooLarge.into())
}

/// Sends the question. The answer is read without waiting.
pub(super) fn ask(path: &Path, question: &str) -> io::Result<UnixStream> {
    // A blocking connect waits for as long as the other's queue is full; this one fails at once.
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let mut stream = UnixStream::from(socket);
    stream.write_all(question.as_bytes())?; // Fits the socket's buffer.
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    #[test]
    fn reads_to_the_end_and_does_not_wait_forever() {
        let path = std::env::temp_dir().join(format!("ollama-guard-exchange-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut question = String::new();
            client.read_to_string(&mut question).unwrap();
            write!(client, "you said {question}").unwrap();
            drop(client);
            listener.accept().unwrap() // Says nothing.
        });
        assert_eq!(exchange(&path, "hello").unwrap(), "you said hello");
        assert!(exchange(&path, "GET / HTTP/1.0\r\n\r\n").is_err());
        drop(server.join().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(exchange(&path, "").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
