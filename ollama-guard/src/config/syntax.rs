//! What is meant by text that is no TOML, told in words that say what to write.

use std::ops::Range;

/// How to write several ports.
pub(super) const LIST_PORTS: &str = "list each port: ports = [8000, 8001, 8002]";

/// Quotation marks of word processors and web pages.
const CURLY: [char; 8] = ['“', '”', '„', '‟', '‘', '’', '«', '»'];

/// Is this how people write a range of ports?
pub(super) fn is_range(text: &str) -> bool {
    let number = |part: &str| !part.trim().is_empty() && part.trim().bytes().all(|byte| byte.is_ascii_digit());
    let separators = ["-", "–", "..", ":"];
    separators.into_iter().filter_map(|between| text.split_once(between)).any(|(low, high)| number(low) && number(high))
}

/// One fault of the text.
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) problem: String,
    pub(super) next_step: String,
}

/// What the parser found, without what follows from it: a bracket left open makes nonsense of the lines below.
pub(super) fn faults(errors: &[toml::de::Error], text: &str) -> Vec<Fault> {
    let mut faults: Vec<Fault> = errors.iter().map(|error| explain(error, text)).collect();
    if errors.iter().any(|error| error.message().starts_with("unclosed array,")) {
        let first = errors.iter().filter(|error| error.message().contains("array")).map(start).min();
        let end = text.floor_char_boundary(first.unwrap_or_default());
        let begin = text[..end].rfind("= [").map_or(end, |equals| equals + 2);
        faults.retain(|fault| fault.span.start < begin);
        faults.push(Fault {
            span: begin..begin + 1,
            problem: "this list is not closed".to_owned(),
            next_step: "end it with ]".to_owned(),
        });
    }
    let line = |fault: &Fault| text[..text.floor_char_boundary(fault.span.start)].matches('\n').count();
    faults.dedup_by(|later, first| later.problem == first.problem && line(later) == line(first));
    faults
}

fn start(error: &toml::de::Error) -> usize {
    error.span().map_or(0, |span| span.start)
}

fn explain(error: &toml::de::Error, text: &str) -> Fault {
    let span = error.span().unwrap_or(0..0);
    let fault = |problem: &str, next_step: &str| Fault {
        span: span.clone(),
        problem: problem.to_owned(),
        next_step: next_step.to_owned(),
    };
    let message = error.message().replace('\n', ", ");
    let start = text.floor_char_boundary(span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let code = line.split('#').next().unwrap_or_default();
    if code.contains(CURLY) {
        return fault("curly quotes are not valid here", "write straight quotes: \"…\"");
    }
    let value = code.split_once('=').map_or(code, |(_, value)| value);
    if value.split(['[', ',', ']']).any(is_range) {
        return fault("a range is not valid here", LIST_PORTS);
    }
    if message == "duplicate key" {
        return duplicate(text, span);
    }
    let next_step = match message.as_str() {
        said if said.starts_with("unclosed table") => "close the bracket: ]",
        said if said.starts_with("invalid basic string") || said.starts_with("invalid literal string") => {
            "close the quotes on the same line"
        }
        said if said.starts_with("string values must be quoted") => "put the value in quotes: \"…\"",
        _ => {
            "write `key = value`, with strings in \"quotes\" and lists in [brackets]; dist/config.toml in the sources \
             shows every key"
        }
    };
    fault(&format!("not valid TOML: {message}"), next_step)
}

/// The same key, or section, a second time.
fn duplicate(text: &str, span: Range<usize>) -> Fault {
    let key = text.get(span.clone()).unwrap_or_default();
    let is_it = |line: &&str| {
        let rest = line.trim_start().trim_start_matches('[').trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with(['=', ']']))
    };
    let before = text.get(..span.start).unwrap_or_default();
    let first = before.lines().enumerate().filter(|(_, line)| is_it(line)).last().map(|(nth, _)| nth + 1);
    let there = first.map(|line| format!(", first on line {line}")).unwrap_or_default();
    Fault { span, problem: format!("`{key}` is there twice{there}"), next_step: "keep one of the two".to_owned() }
}
