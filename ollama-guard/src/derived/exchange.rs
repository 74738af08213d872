//! Questions and answers over unix sockets, all at once, with one deadline: others decide how many there are to ask, and who
//! hangs must not keep the rest from being heard. No HTTP client: the requests made of an engine fit a line.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Deadline;
use super::reach::reach;

/// Answers that are listened to at once.
const MOST: usize = 64;
/// Bytes of all answers that are listened to at once: a list of some thousand containers.
const LONGEST: usize = 4 * 1024 * 1024;
/// And of an answer that is a user's.
const LONGEST_OF_USER: usize = 128 * 1024;

/// What is to be asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// Of whom.
    pub(super) path: PathBuf,
    /// Whose socket that has to be.
    pub(super) user: u32,
    /// What.
    pub(super) text: String,
}

/// Asks all of them; the answers in the same order, of those who hang up in time.
pub(super) fn exchange(questions: &[Question], until: Deadline) -> Vec<io::Result<String>> {
    questions.chunks(MOST).flat_map(|some| exchange_some(some, until)).collect()
}

/// Asks. The answer is read without waiting.
pub(super) fn ask(question: &Question) -> io::Result<UnixStream> {
    let mut stream = reach(&question.path, question.user)?;
    stream.write_all(question.text.as_bytes())?; // Fits the socket's buffer.
    Ok(stream)
}

struct Open {
    stream: UnixStream,
    answer: Vec<u8>,
    longest: usize,
}

fn exchange_some(questions: &[Question], until: Deadline) -> Vec<io::Result<String>> {
    let mut asked: Vec<io::Result<Open>> = questions.iter().map(open).collect();
    let mut answers: Vec<Option<io::Result<String>>> = questions.iter().map(|_| None).collect();
    loop {
        let held: usize = asked.iter().flatten().map(|open| open.answer.len()).sum();
        for (asked, answer) in asked.iter_mut().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
            *answer = match asked {
                Ok(open) => open.hear(held),
                Err(error) => Some(Err(std::mem::replace(error, ErrorKind::Other.into()))),
            };
        }
        let silent = |(asked, answer): (_, &Option<_>)| if answer.is_none() { Result::ok(asked) } else { None };
        let waiting: Vec<&Open> = asked.iter().map(Result::as_ref).zip(&answers).filter_map(silent).collect();
        let left = until.saturating_duration_since(Instant::now());
        if waiting.is_empty() || left.is_zero() {
            break;
        }
        let mut ready: Vec<_> = waiting.iter().map(|open| PollFd::new(&open.stream, PollFlags::IN)).collect();
        // An error, such as a signal's, has the answers looked at again.
        let _ = poll(&mut ready, Timespec::try_from(left).ok().as_ref());
    }
    answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(ErrorKind::TimedOut.into()))).collect()
}

fn open(question: &Question) -> io::Result<Open> {
    let stream = ask(question)?;
    if !question.text.contains("HTTP/") {
        stream.shutdown(Shutdown::Write)?; // An HTTP server would take it for a client that left.
    }
    let longest = if question.user == 0 { LONGEST } else { LONGEST_OF_USER };
    Ok(Open { stream, answer: Vec::new(), longest })
}

impl Open {
    /// Takes what is there; something once that is all. `held`: what all have said so far.
    fn hear(&mut self, held: usize) -> Option<io::Result<String>> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(String::from_utf8(std::mem::take(&mut self.answer)).map_err(io::Error::other)),
                Ok(length) => self.answer.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Some(Err(error)),
            }
            if self.answer.len() > self.longest || held + self.answer.len() > 2 * LONGEST {
                self.answer = Vec::new();
                return Some(Err(ErrorKind::FileTooLarge.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn all_are_asked_at_once_and_nobody_is_waited_for_longer() {
        let folder = std::env::temp_dir().join(format!("ollama-guard-exchange-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let user = nix::unistd::geteuid().as_raw();
        let question = |name: &str, text: &str| Question { path: folder.join(name), user, text: text.to_owned() };
        let listen = |name: &str| UnixListener::bind(folder.join(name)).unwrap();
        let mute: Vec<_> = (0..100).map(|nth| listen(&format!("mute{nth}"))).collect();
        let (polite, chatty) = (listen("polite"), listen("chatty"));
        let polite = thread::spawn(move || {
            let (mut client, _) = polite.accept().unwrap();
            let mut question = String::new();
            client.read_to_string(&mut question).unwrap();
            write!(client, "you said {question}").unwrap();
        });
        let chatty = thread::spawn(move || {
            let (mut client, _) = chatty.accept().unwrap();
            while client.write_all(&[b'x'; 4096]).is_ok() {}
        });
        let first = [question("polite", "hello"), question("chatty", ""), question("nobody", "")];
        let silent = (0..100).map(|nth| question(&format!("mute{nth}"), "GET / HTTP/1.0\r\n\r\n"));
        let questions: Vec<_> = first.into_iter().chain(silent).collect();
        let start = Instant::now();
        let answers = exchange(&questions, start + Duration::from_millis(500));
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(answers.len(), questions.len());
        assert_eq!(answers[0].as_ref().unwrap(), "you said hello");
        let kind = |nth: usize| answers[nth].as_ref().unwrap_err().kind();
        assert_eq!((kind(1), kind(2)), (ErrorKind::FileTooLarge, ErrorKind::NotFound));
        assert!((3..103).all(|nth| kind(nth) == ErrorKind::TimedOut));
        for thread in [polite, chatty] {
            thread.join().unwrap();
        }
        drop(mute);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
