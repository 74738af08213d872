//! Numbers, ages and names as people read them.

use std::time::Duration;

use crate::policy::Service;

/// Thousands apart: `12 904`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `1 packet`, `12 904 packets`.
pub fn packets(number: u64) -> String {
    counted(number, "packet")
}

/// A number of things whose plural ends in s.
pub fn counted(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{} {thing}s", grouped(number)) }
}

/// A duration in its largest unit: `2 s`, `5 min`, `1 h`, `3 days`.
pub fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..86_400 => format!("{} h", seconds / 3_600),
        seconds @ 86_400..172_800 => format!("{} day", seconds / 86_400),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// How long ago: `now`, `2 s ago`.
pub fn ago(age: Duration) -> String {
    if age < Duration::from_secs(1) { "now".to_owned() } else { format!("{} ago", duration(age)) }
}

/// Text that came from outside (an interface may have any byte in its name) made fit for a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// What is guarded: `ollama (tcp 11434), web (tcp+udp 3000 8080)`.
pub fn services(services: &[Service]) -> String {
    let one = |service: &Service| {
        let protocols = joined(&service.protocols, "+");
        format!("{} ({protocols} {})", service.name, joined(&service.ports, " "))
    };
    services.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The items with something between them.
pub fn joined<T: ToString>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let groups = [(0, "0"), (999, "999"), (1_000, "1 000"), (12_904, "12 904"), (1_234_567, "1 234 567")];
        for (number, text) in groups {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(u64::MAX), "18 446 744 073 709 551 615");
    }

    #[test]
    fn ages_are_in_their_largest_unit() {
        let ages = [(0, "now"), (2, "2 s ago"), (59, "59 s ago"), (60, "1 min ago"), (3_600, "1 h ago")];
        for (seconds, text) in ages {
            assert_eq!(ago(Duration::from_secs(seconds)), text);
        }
        assert_eq!(duration(Duration::from_hours(24)), "1 day");
        assert_eq!(duration(Duration::from_hours(75)), "3 days");
    }

    #[test]
    fn an_interface_name_cannot_write_escape_codes() {
        assert_eq!(printable("eth\x1b[2J0"), "eth?[2J0");
    }
}
