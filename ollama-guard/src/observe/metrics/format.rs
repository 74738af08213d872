//! The two text formats, and which one a scraper wants.
//!
//! They differ little: `OpenMetrics` names a counter's family without its `_total` and ends with `# EOF`; Prometheus'
//! older format describes the series by their own name.

use std::fmt::Write;

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4: what `curl`, browsers and `node_exporter` get.
    Prometheus,
}

impl Format {
    /// What a request's `Accept` (RFC 9110 §12.5.1) asks for. `OpenMetrics` must be named: `*/*` does not know it.
    pub fn accepted(accept: &str) -> Self {
        let weight = |wanted: &str| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let name = parts.next()?;
                let weight = parts.find_map(|part| part.strip_prefix("q="));
                name.eq_ignore_ascii_case(wanted).then(|| weight.map_or(Some(1.0), |weight| weight.parse().ok()))?
            });
            ranges.fold(0.0_f32, f32::max)
        };
        let open = weight("application/openmetrics-text");
        if open > 0.0 && open >= weight("text/plain") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The response's `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// From `OpenMetrics`, as the encoder writes it: help, then type, then series.
    pub(super) fn convert(self, text: String) -> String {
        if self == Self::OpenMetrics {
            return text;
        }
        let mut converted = String::with_capacity(text.len() + 512);
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else {
                if line != "# EOF" {
                    converted.push_str(line);
                    converted.push('\n');
                }
                continue;
            };
            let kind = lines.next_if(|next| next.starts_with("# TYPE "));
            let kind = kind.and_then(|line| line.rsplit(' ').next()).unwrap_or("untyped");
            let suffix = if kind == "counter" { "_total" } else { "" };
            // Cannot fail: it is a string.
            let _ = writeln!(converted, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
        }
        converted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scraper_chooses() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for plain in [
            "",
            "*/*",
            "text/html, */*;q=0.8",
            "text/plain",
            "application/openmetrics-text;q=0",
            "q=;;,,;q=x",
            "application/openmetrics-text;q=0.1, text/plain;q=0.9",
        ] {
            assert_eq!(Format::accepted(plain), Format::Prometheus, "{plain}");
        }
    }

    #[test]
    fn the_older_format_names_the_series() {
        let open = "# HELP a_b What it is.\n# TYPE a_b counter\na_b_total{x=\"# EOF\"} 1\n# HELP g G.\n# TYPE g gauge\ng 1.0\n# EOF\n";
        let plain = "# HELP a_b_total What it is.\n# TYPE a_b_total counter\na_b_total{x=\"# EOF\"} 1\n# HELP g G.\n# TYPE g gauge\ng 1.0\n";
        assert_eq!(Format::Prometheus.convert(open.to_owned()), plain);
        assert_eq!(Format::OpenMetrics.convert(open.to_owned()), open);
    }
}
