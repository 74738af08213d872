//! Waiting for a condition with a limit, so that no test sleeps and hopes.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long between two looks: short against any limit, long against the cost of a look.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until `condition` holds; after `limit` fails with `what` it was waiting for.
pub fn until(what: impl Display, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    value(what, limit, || condition().then_some(()))
}

/// Waits until `look` finds a value; after `limit` fails with `what` it was waiting for.
pub fn value<T>(what: impl Display, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let limit = limit * patience();
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if start.elapsed() >= limit {
            bail!("waited {limit:?} in vain for {what}");
        }
        sleep(PAUSE);
    }
}

/// How many times longer everything may take: `OLLAMA_GUARD_PATIENCE`, for emulated machines.
fn patience() -> u32 {
    std::env::var("OLLAMA_GUARD_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Sees that `condition` holds at every look during `time`: for what must *not* happen.
pub fn throughout(what: impl Display, time: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        if !condition() {
            bail!("no longer true after {:?}: {what}", start.elapsed());
        }
        sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_comes_is_returned_and_one_that_does_not_is_named() {
        let mut looks = 0;
        let found = value("three looks", Duration::from_secs(1), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found.unwrap(), 3);

        let never = until("the impossible", Duration::from_millis(30), || false);
        assert!(never.unwrap_err().to_string().contains("the impossible"));
    }
}
