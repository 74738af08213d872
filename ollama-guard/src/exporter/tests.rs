//! A real server on a unix socket, with a snapshot of ours behind it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::*;
use crate::config::built_in;
use crate::observe::samples::day;
use crate::observe::snapshot::{Attachment, Snapshot};

/// A server, and the directory of its socket.
struct Server {
    exporter: Exporter,
    folder: PathBuf,
}

impl Server {
    fn start(name: &str) -> Self {
        Self::reading(name, || Ok(day()))
    }

    fn reading(name: &str, mut source: impl FnMut() -> anyhow::Result<Snapshot> + Send + 'static) -> Self {
        let folder = std::env::temp_dir().join(format!("og-exporter-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let policy = Policy { metrics: Some(Listen::Unix(folder.join("a"))), ..built_in() };
        let reload = Reload { successful: true, last_success: Duration::ZERO };
        let (sender, receiver) = watch::channel(Settings::new(&policy, "c.toml".into(), reload));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let reader = Reader::new(receiver.clone(), Box::new(move |_| source()));
            runtime.block_on(accept(receiver, reader, &[]));
        });
        let server = Self { exporter: Exporter { settings: Some(sender), thread: Some(thread) }, folder };
        server.connect("a");
        server
    }

    fn connect(&self, socket: &str) -> UnixStream {
        let start = Instant::now();
        loop {
            match UnixStream::connect(self.folder.join(socket)) {
                Ok(stream) => return stream,
                Err(error) => assert!(start.elapsed() < Duration::from_secs(10), "{error}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends bytes, hangs up nothing, returns what comes until the server hangs up.
    fn ask(&self, socket: &str, request: &[u8]) -> String {
        let mut stream = self.connect(socket);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str, headers: &str) -> String {
        self.ask("a", format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").as_bytes())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.exporter.settings.take());
        if let Some(thread) = self.exporter.thread.take() {
            thread.join().unwrap();
        }
        assert!(!self.folder.join("a").exists(), "the socket is removed");
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What only counts must not look ready to whoever waits for a closed port.
#[test]
fn observe_mode_is_not_ready() {
    let observing = || Ok(Snapshot { mode: crate::policy::Mode::Observe, ..day() });
    let ready = Server::reading("observing", observing).get("/-/ready", "");
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("observe mode drops nothing"), "{ready}");
}

#[test]
fn every_page_is_there() {
    let server = Server::start("pages");
    let metrics = server.get("/metrics", "");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n") && metrics.contains("content-type: text/plain; version=0.0.4"));
    assert!(metrics.contains("\nollama_guard_enforcing 1.0\n") && metrics.contains("\nprocess_open_fds "));
    let open = server.get("/metrics?x=y", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0") && open.ends_with("# EOF\n"));
    let landing = server.get("/", "");
    assert!(landing.contains("href=\"/metrics\"") && landing.contains("tailscale0"), "{landing}");
    assert!(server.get("/-/healthy", "").ends_with("\r\n\r\nhealthy\n"));
    assert!(server.get("/-/ready", "").ends_with("\r\n\r\nready\n"));
    assert!(server.get("/etc/passwd", "").starts_with("HTTP/1.1 404 "));
    let post =
        server.ask("a", b"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD"), "{post}");
    let head = server.ask("a", b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

/// A probe learns what is open, and what could not be read is not told as zero.
#[test]
fn what_is_not_enforced_or_not_known_is_an_error() {
    let open = Server::reading("open", || {
        let mut day = day();
        day.interfaces[0].attachment = Attachment::Missing("the driver said no".into());
        Ok(day)
    });
    let ready = open.get("/-/ready", "");
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("not fully enforcing\neth0: "), "{ready}");
    assert!(open.get("/metrics", "").contains("\nollama_guard_enforcing 0.0\n"));

    let unknown = Server::reading("unknown", || anyhow::bail!("the map is gone"));
    for path in ["/metrics", "/-/ready", "/"] {
        let answer = unknown.get(path, "");
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nthe kernel's counters cannot be read: the map is gone\n"), "{answer}");
    }
    assert!(unknown.get("/-/healthy", "").starts_with("HTTP/1.1 200 "), "the daemon lives");
}

/// RFC 9110, 15.5.2: a browser asks for the password only if it is told how.
#[test]
fn who_gives_no_password_is_asked_for_one() {
    let answer = pages::who_are_you();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["www-authenticate"], "Basic realm=\"ollama-guard\", charset=\"UTF-8\"");
    assert_eq!(answer.headers()["cache-control"], "no-store");
}

#[test]
fn nonsense_is_refused_and_does_no_harm() {
    let server = Server::start("nonsense");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(64 << 10));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(500));
    for nonsense in
        [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n", long.as_bytes(), many.as_bytes()]
    {
        let answer = server.ask("a", nonsense);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert!(server.get("/-/healthy", "").ends_with("healthy\n"));
}

#[test]
fn the_slow_make_room() {
    let server = Server::start("slow");
    let mut slow: Vec<UnixStream> = (0..300).map(|_| server.connect("a")).collect();
    for stream in &mut slow {
        let _ = stream.write_all(b"GET /metrics HT");
    }
    let start = Instant::now();
    assert!(server.get("/-/healthy", "").ends_with("healthy\n"));
    assert!(start.elapsed() < Duration::from_secs(4), "it did not wait for any of them to give up");
    // The newest of them have five seconds to go on.
    let last = slow.last_mut().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    let _ = last.read_to_string(&mut answer);
    assert!(start.elapsed() < Duration::from_secs(15) && !answer.contains("200 OK"), "{answer}");
}

#[test]
fn a_reload_moves_it() {
    let server = Server::start("moves");
    let other = server.folder.join("b");
    server.exporter.change(|settings| settings.listen = Some(Listen::Unix(other)));
    assert!(server.ask("b", b"GET /-/healthy HTTP/1.0\r\n\r\n").ends_with("healthy\n"));
    assert!(!server.folder.join("a").exists());
    server.exporter.change(|settings| settings.listen = None);
    let start = Instant::now();
    while server.folder.join("b").exists() {
        assert!(start.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_dead_daemons_socket_is_taken_over_and_a_living_ones_is_not() {
    let folder = std::env::temp_dir().join(format!("og-listener-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let place = Listen::Unix(folder.join("s"));
    drop(std::os::unix::net::UnixListener::bind(folder.join("s")).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let first = Listeners::open(Some(&place), &[]).unwrap();
    let second = Listeners::open(Some(&place), &[]).unwrap_err().to_string();
    assert!(second.contains("cannot listen on unix:/") && folder.join("s").exists(), "{second}");
    drop(first);
    std::fs::write(folder.join("s"), "a file of somebody's").unwrap();
    assert!(Listeners::open(Some(&place), &[]).is_err() && folder.join("s").exists());
    let _ = std::fs::remove_dir_all(&folder);
}
