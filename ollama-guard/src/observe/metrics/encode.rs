//! Metric families as plain data, and the collector that hands them to the text encoder.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// A metric with all its series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Family {
    /// Without the `_total` of a counter.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) series: Vec<Series>,
}

/// One series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) labels: Labels,
    pub(super) value: Value,
}

/// Counters stay whole numbers: a float would lose packets from 2^53 on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Count(u64),
    Seconds(f64),
    Gauge(f64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels(pub(super) Vec<(&'static str, String)>);

/// Everything that one scrape says.
#[derive(Debug)]
pub(super) struct Families(pub(super) Vec<Family>);

impl Value {
    const fn kind(self) -> MetricType {
        match self {
            Self::Count(_) | Self::Seconds(_) => MetricType::Counter,
            Self::Gauge(_) => MetricType::Gauge,
        }
    }

    fn encode(self, metric: &mut MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => metric.encode_counter::<NoLabelSet, _, u64>(&count, None),
            Self::Seconds(seconds) => metric.encode_counter::<NoLabelSet, _, f64>(&seconds, None),
            Self::Gauge(value) => metric.encode_gauge(&value),
        }
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            // Nothing to say: not even that it exists, because its type is that of its values.
            let Some(first) = family.series.first() else { continue };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, first.value.kind())?;
            for series in &family.series {
                if series.labels.0.is_empty() {
                    series.value.encode(&mut metric)?;
                } else {
                    series.value.encode(&mut metric.encode_family(&series.labels)?)?;
                }
            }
        }
        Ok(())
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let spelled: Vec<_> = self.0.iter().map(|(name, value)| (*name, spelled(value))).collect();
        spelled.as_slice().encode(encoder)
    }
}

/// An interface may have any byte in its name, and metrics are read at a terminal, too. Spelled out, so that two names stay
/// two. The format has an escape of its own for the end of a line.
fn spelled(value: &str) -> Cow<'_, str> {
    let is_raw = |c: char| c.is_control() && c != '\n';
    if !value.contains(is_raw) {
        return value.into();
    }
    let spell = |c: char| if is_raw(c) { c.escape_unicode().to_string() } else { c.to_string() };
    value.chars().map(spell).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(spelled("eth0"), "eth0");
        assert_eq!(spelled("e\x1b[2J\u{9b}"), "e\\u{1b}[2J\\u{9b}");
        assert_ne!(spelled("e\x1b"), spelled("e\x07"));
    }
}
