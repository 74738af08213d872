//! What wakes the daemon, listened to anew whenever that fails.

use std::fmt::Display;
use std::time::Instant;

use tokio::time::sleep;
use tracing::{info, warn};

use crate::backoff::Backoff;

/// A source of news.
#[derive(Debug)]
pub(super) struct Source<T> {
    /// Whose news they are.
    what: &'static str,
    opened: Option<T>,
    failed: bool,
    backoff: Backoff,
}

impl<T> Source<T> {
    /// One that is opened when somebody first waits for it.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, opened: None, failed: false, backoff: Backoff::default() }
    }

    /// Waits for news. `None`: it was opened just now; whatever happened before, nobody heard. Cancel safe if `next` is.
    pub(super) async fn news<U, E: Display, F: Display>(
        &mut self,
        open: impl Fn() -> Result<T, E>,
        next: impl AsyncFn(&mut T) -> Result<U, F>,
    ) -> Option<U> {
        if let Some(source) = &mut self.opened {
            match next(source).await {
                Ok(news) => return Some(news),
                Err(error) => self.fails(&error),
            }
        }
        loop {
            if let Some(pause) = self.backoff.wait(Instant::now()) {
                sleep(pause).await;
            }
            self.backoff.record(Instant::now());
            match open() {
                Ok(source) => {
                    self.opened = Some(source);
                    if std::mem::take(&mut self.failed) {
                        info!("listening for {} again", self.what);
                    }
                    return None;
                }
                Err(error) => self.fails(&error),
            }
        }
    }

    /// Said once.
    fn fails(&mut self, error: &dyn Display) {
        self.opened = None;
        if !std::mem::replace(&mut self.failed, true) {
            warn!("{} are noticed only every 30 s until that succeeds again: {error}", self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    /// Opens at the third try, and what it opens fails at its second news.
    #[tokio::test]
    async fn a_source_that_fails_is_opened_again_and_says_so() {
        let opened = Cell::new(0);
        let open = || {
            opened.set(opened.get() + 1);
            if opened.get() % 3 == 0 { Ok(0) } else { Err("not yet") }
        };
        let next = async |said: &mut u32| {
            *said += 1;
            if *said < 2 { Ok(*said) } else { Err("broken") }
        };
        let mut source = Source::new("tests");
        assert_eq!(source.news(open, next).await, None);
        assert_eq!((opened.get(), source.news(open, next).await), (3, Some(1)));
        assert_eq!((source.news(open, next).await, opened.get()), (None, 6));
    }

    #[tokio::test]
    async fn one_that_always_fails_is_not_tried_without_a_pause() {
        let tried = Cell::new(0);
        let open = || {
            tried.set(tried.get() + 1);
            Err::<(), _>("never")
        };
        let mut source = Source::new("tests");
        let waited = tokio::time::timeout(Duration::from_millis(300), source.news(open, async |()| Ok::<(), &str>(())));
        assert!(waited.await.is_err());
        assert!((5..=8).contains(&tried.get()), "{} tries", tried.get());
    }
}
