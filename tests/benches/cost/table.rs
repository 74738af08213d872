//! One row per question: the goal, the figures, and whether the goal is met.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::measure::{Samples, Spread};

/// Which side of a limit is good.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// The ratio should not be above.
    AtMost(f64),
    /// The ratio should not be below.
    AtLeast(f64),
    /// For comparison only.
    None,
}

/// A finished comparison.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    figure: String,
    base: String,
    ratio: Spread,
    goal: Goal,
}

impl Row {
    /// One contender's nanoseconds over another's.
    pub(crate) fn cost(samples: &Samples, what: &str, name: &str, against: &str, goal: Goal) -> Result<Self> {
        let (cost, base) = (samples.cost(name)?, samples.cost(against)?);
        Ok(Self {
            what: format!("{what}: {name}"),
            figure: format!("{:.1} ns", cost.median),
            base: format!("{against} {:.1} ns", base.median),
            ratio: samples.ratio(name, against)?,
            goal,
        })
    }

    /// One contender's packets per second over another's.
    pub(crate) fn rate(samples: &Samples, what: &str, name: &str, against: &str, goal: Goal) -> Result<Self> {
        Self::speed(samples, what, name, against, goal, |nanoseconds| format!("{:.2} M/s", 1e3 / nanoseconds))
    }

    /// One contender's speed over another's; `figure` makes one of the nanoseconds that something took.
    pub(crate) fn speed(
        samples: &Samples,
        what: &str,
        name: &str,
        against: &str,
        goal: Goal,
        figure: impl Fn(f64) -> String,
    ) -> Result<Self> {
        let (cost, base) = (samples.cost(name)?, samples.cost(against)?);
        Ok(Self {
            what: format!("{what}: {name}"),
            figure: figure(cost.median),
            base: format!("{against} {}", figure(base.median)),
            ratio: samples.ratio(against, name)?,
            goal,
        })
    }

    /// A figure with its unit and nothing beside it.
    pub(crate) fn figure(what: &str, value: Spread, unit: &str, goal: Goal) -> Self {
        let figure = format!("{:.2} {unit}", value.median);
        Self { what: what.to_owned(), figure, base: "-".to_owned(), ratio: value, goal }
    }

    const fn verdict(&self) -> &'static str {
        let met = match self.goal {
            Goal::AtMost(limit) => self.ratio.median <= limit,
            Goal::AtLeast(limit) => self.ratio.median >= limit,
            Goal::None => return "",
        };
        if met { "ok" } else { "missed" }
    }

    fn goal(&self) -> String {
        match self.goal {
            Goal::AtMost(limit) => format!("<= {limit}"),
            Goal::AtLeast(limit) => format!(">= {limit}"),
            Goal::None => String::new(),
        }
    }

    fn cells(&self) -> [String; 7] {
        let Spread { low, median, high } = self.ratio;
        [
            self.what.clone(),
            self.figure.clone(),
            self.base.clone(),
            format!("{median:.2}"),
            format!("{low:.2}..{high:.2}"),
            self.goal(),
            self.verdict().to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let Spread { low, median, high } = self.ratio;
        json!({"what": self.what, "figure": self.figure, "against": self.base, "ratio": median,
            "quartiles": [low, high], "goal": self.goal(), "verdict": self.verdict()})
    }
}

/// Prints the rows under a heading.
pub(crate) fn print(heading: &str, rows: &[Row]) {
    let heads = [heading, "figure", "against", "ratio", "quartiles", "goal", ""].map(str::to_owned);
    let lines: Vec<[String; 7]> = std::iter::once(heads).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    println!();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// Writes the rows where a machine finds them.
pub(crate) fn write(name: &str, rows: &[Row]) -> Result<()> {
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    keep(&format!("{name}.json"), &serde_json::to_string_pretty(&rows)?)
}

/// Writes a file to `target/bench`.
pub(crate) fn keep(name: &str, text: &str) -> Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), text)?)
}
