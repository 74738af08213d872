//! Problems and advice: a head, and below it, indented, what to do; alike ones once.

use std::fmt::{self, Write};

use super::super::snapshot::{Problem, Severity};
use super::super::terminal::{Style, Tone};
use super::super::text::{grouped, joined, printable};

const INDENT: &str = "        ";

/// Writes one paragraph, wrapped at words where the terminal has a width.
pub(super) fn write(out: &mut impl Write, head: &str, tone: Option<Tone>, rest: &str, style: Style) -> fmt::Result {
    writeln!(out)?;
    for line in wrapped(head, "", style) {
        writeln!(out, "{}", style.tone(&line, tone))?;
    }
    for line in wrapped(rest, INDENT, style) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Lines to copy, which are not wrapped.
pub(super) fn verbatim(out: &mut impl Write, lines: &[&str]) -> fmt::Result {
    lines.iter().try_for_each(|line| writeln!(out, "{INDENT}{line}"))
}

/// The text in lines: the first begins with `indent`, the others always further in.
pub(super) fn wrapped(text: &str, indent: &str, style: Style) -> Vec<String> {
    let Some(width) = style.width else { return vec![format!("{indent}{text}")] };
    // Never so narrow that a line holds less than a word or two.
    let options = textwrap::Options::new(width.max(24)).initial_indent(indent).subsequent_indent(INDENT);
    textwrap::wrap(text, options.break_words(false)).into_iter().map(std::borrow::Cow::into_owned).collect()
}

/// Writes every problem, the worst first.
pub(super) fn problems(out: &mut impl Write, problems: &[Problem], style: Style) -> fmt::Result {
    for group in alike(problems) {
        let (word, tone) = match group[0].severity {
            Severity::Gap => ("PROBLEM", Tone::Bad),
            Severity::Warning => ("WARNING", Tone::Warning),
            Severity::Notice => ("NOTE", Tone::Faint),
        };
        let head = printable(&format!("{word} {}: {}", subjects(&group), group[0].problem));
        write(out, &head, Some(tone), &format!("next: {}", group[0].next_step), style)?;
    }
    Ok(())
}

/// Problems that say the same of several subjects, together.
fn alike(problems: &[Problem]) -> Vec<Vec<&Problem>> {
    let mut groups: Vec<Vec<&Problem>> = Vec::new();
    for problem in problems {
        let said = |one: &Problem| (one.severity, one.problem.replace(&one.subject, ""), one.next_step.clone());
        match groups.iter_mut().find(|group| said(group[0]) == said(problem)) {
            Some(group) => group.push(problem),
            None => groups.push(vec![problem]),
        }
    }
    groups
}

fn subjects(group: &[&Problem]) -> String {
    const SHOWN: usize = 3;
    let names = group.iter().take(SHOWN).map(|problem| &problem.subject);
    let rest = group.len().saturating_sub(SHOWN);
    if rest == 0 { joined(names, ", ") } else { format!("{} and {} more", joined(names, ", "), grouped(rest as u64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(subject: &str, problem: &str) -> Problem {
        Problem {
            severity: Severity::Gap,
            subject: subject.into(),
            problem: problem.into(),
            next_step: "wait a moment and look again, at least once or twice".into(),
        }
    }

    fn text(problems: &[Problem], width: Option<usize>) -> String {
        let mut text = String::new();
        super::problems(&mut text, problems, Style { width, ..Style::default() }).unwrap();
        text
    }

    #[test]
    fn three_hundred_alike_are_one() {
        let mut many: Vec<_> =
            (0..300).map(|n| problem(&format!("eth{n}"), &format!("link eth{n}: no memory"))).collect();
        many.push(problem("nftables", "the table is not there"));
        let text = text(&many, None);
        assert!(
            text.starts_with("\nPROBLEM eth0, eth1, eth2 and 297 more: link eth0: no memory\n        next: "),
            "{text}"
        );
        assert_eq!(text.matches("PROBLEM").count(), 2);
    }

    #[test]
    fn lines_break_between_words_at_any_width() {
        let problems = [problem("eth0", "no eBPF program is attached; nftables still covers it")];
        let unwrapped = text(&problems, None);
        for width in [24, 40, 60, 80] {
            let text = text(&problems, Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            assert!(text.split_whitespace().eq(unwrapped.split_whitespace()), "{text}");
        }
    }
}
