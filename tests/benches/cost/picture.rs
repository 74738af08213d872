//! A bar for each contender, as SVG: for the documentation.

use std::fmt::Write as _;

/// One contender.
pub(crate) struct Bar {
    /// Its name.
    pub(crate) name: String,
    /// How much.
    pub(crate) value: f64,
    /// Drawn in color.
    pub(crate) ours: bool,
}

const WIDTH: f64 = 720.0;
const LINE: f64 = 24.0;
/// Where bars begin.
const LEFT: f64 = 150.0;
/// Room for the longest bar.
const ROOM: f64 = WIDTH - LEFT - 90.0;
/// Readable on light and on dark pages.
const STYLE: &str = "text{font:13px sans-serif;fill:#24292f}.bar{fill:#8c959f}.ours{fill:#1a7f37}.head{font-weight:bold}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#6e7681}.ours{fill:#3fb950}}";

/// Draws groups of bars, each under its heading, all on one scale.
pub(crate) fn bars(title: &str, unit: &str, groups: &[(String, Vec<Bar>)]) -> String {
    let most = groups.iter().flat_map(|(_, bars)| bars).map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let (mut body, mut y) = (String::new(), LINE);
    let text = |body: &mut String, x: f64, y: f64, class: &str, words: &str| {
        // Cannot fail: it is a string.
        let _ = writeln!(body, "<text class=\"{class}\" x=\"{x:.0}\" y=\"{:.0}\">{}</text>", y - 7.0, escaped(words));
    };
    text(&mut body, 0.0, y, "head", title);
    for (heading, bars) in groups {
        y += LINE * 1.5;
        text(&mut body, 0.0, y, "head", heading);
        for bar in bars {
            y += LINE;
            let (length, class) = (bar.value / most * ROOM, if bar.ours { "ours" } else { "bar" });
            let top = y - LINE + 3.0;
            let _ = writeln!(
                body,
                "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{top:.0}\" width=\"{length:.0}\" height=\"18\" rx=\"2\"/>"
            );
            text(&mut body, 0.0, y, "", &bar.name);
            text(&mut body, LEFT + length + 8.0, y, "", &format!("{:.2} {unit}", bar.value));
        }
    }
    let height = y + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n{body}</svg>\n",
        escaped(title)
    )
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}
