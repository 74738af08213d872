//! Reads metrics as a scraper does.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::netns::Netns;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One scrape: series, as they are written, and their values.
#[derive(Debug, Clone, PartialEq)]
pub struct Scrape {
    /// The page.
    pub text: String,
    series: BTreeMap<String, f64>,
}

/// Gets a page over HTTP in a namespace: status and body.
pub fn page(ns: &Netns, address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let answer = ns.enter(|| -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })??;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}

impl Scrape {
    /// Scrapes `/metrics`.
    pub fn get(ns: &Netns, address: SocketAddr) -> Result<Self> {
        let (status, text) = page(ns, address, "/metrics")?;
        ensure!(status == 200, "/metrics: {status}: {text}");
        Self::parse(text)
    }

    /// Reads Prometheus' text format.
    pub fn parse(text: String) -> Result<Self> {
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').with_context(|| format!("not a series: {line:?}"))?;
            if series.insert(name.to_owned(), value.parse().with_context(|| line.to_owned())?).is_some() {
                bail!("{name} is there twice");
            }
        }
        Ok(Self { text, series })
    }

    /// [`Self::sum`] of whole numbers.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of packets in tests")]
    pub fn count(&self, metric: &str, labels: &[&str]) -> u64 {
        self.sum(metric, labels).round() as u64
    }

    /// The sum over the series of a metric that have all of these labels, each written as `name="value"`.
    pub fn sum(&self, metric: &str, labels: &[&str]) -> f64 {
        let of_metric = self.series.iter().filter(|(series, _)| {
            series.strip_prefix(metric).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        });
        of_metric.filter(|(series, _)| labels.iter().all(|label| series.contains(label))).map(|(_, value)| value).sum()
    }
}
