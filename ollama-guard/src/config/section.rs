//! Typed, fault-collecting access to a parsed TOML table. Knows TOML, knows nothing of what the keys mean.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Faults;

/// Keys that people put in the wrong place, because in TOML everything after a `[section]` belongs to it.
const HOMES: [(&str, &[&str]); 5] = [
    (
        "at the top of the file, before the first [section]",
        &["profile", "mode", "attach", "forwarded", "wall", "seatbelt", "ollama"],
    ),
    ("under [interfaces]", &["trusted", "containers", "container_access", "count_loopback"]),
    ("under [sources]", &["tracked", "exported"]),
    ("under [metrics]", &["listen", "web_config"]),
    ("under a [[service]]", &["ports", "protocols", "insist"]),
];

/// One table, whose keys are taken out one by one; what is left at the end is unknown.
pub(super) struct Section<'a, 'i> {
    name: String,
    table: &'a DeTable<'i>,
    span: Range<usize>,
    known: Vec<&'static str>,
    faults: &'a Faults,
}

/// One value with its place in the file.
pub(super) struct Field<'a, 'i> {
    pub(super) key: String,
    value: &'a DeValue<'i>,
    span: Range<usize>,
    faults: &'a Faults,
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn root(table: &'a DeTable<'i>, faults: &'a Faults) -> Self {
        Self { name: String::new(), table, span: 0..0, known: Vec::new(), faults }
    }

    /// The value of `key`, if the file has it.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Field<'a, 'i>> {
        self.known.push(key);
        let (_, value) = self.table.iter().find(|(written, _)| written.get_ref() == key)?;
        Some(Field::new(self.path(key), value, self.faults))
    }

    /// Overwrites `target` if the file has a sound value for `key`.
    pub(super) fn set<T>(&mut self, key: &'static str, target: &mut T, read: impl FnOnce(&Field<'a, 'i>) -> Option<T>) {
        if let Some(value) = self.take(key).and_then(|field| read(&field)) {
            *target = value;
        }
    }

    /// Like [`Self::take`], for a key that must be there.
    pub(super) fn require(&mut self, key: &'static str, next_step: &str) -> Option<Field<'a, 'i>> {
        let field = self.take(key);
        if field.is_none() {
            self.faults.add(self.span.clone(), self.path(key), "is missing", next_step);
        }
        field
    }

    /// Every entry, for tables whose keys are the user's own: the key, as a field too, and its value.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Field<'a, 'i>, &'a str, Field<'a, 'i>)> + '_ {
        self.table.iter().map(|(key, value)| {
            let value = Field::new(self.path(key.get_ref()), value, self.faults);
            let place = Field { span: key.span(), key: value.key.clone(), ..value };
            (place, key.get_ref().as_ref(), value)
        })
    }

    /// Reports the keys that nobody took.
    pub(super) fn finish(self) {
        for (key, _) in self.table {
            let written = key.get_ref().as_ref();
            if !self.known.contains(&written) {
                self.faults.add(key.span(), self.path(written), "unknown key", self.suggestion(written));
            }
        }
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn suggestion(&self, written: &str) -> String {
        if let Some((home, _)) = HOMES.iter().find(|(_, keys)| keys.contains(&written)) {
            return format!("`{written}` belongs {home}; move it there");
        }
        match closest(written, &self.known) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("remove it, or use one of: {}", self.known.join(", ")),
        }
    }
}

impl<'a, 'i> Field<'a, 'i> {
    fn new(key: String, value: &'a Spanned<DeValue<'i>>, faults: &'a Faults) -> Self {
        Self { key, value: value.get_ref(), span: value.span(), faults }
    }

    pub(super) fn fault(&self, problem: impl Into<String>, next_step: impl Into<String>) {
        self.faults.add(self.span.clone(), self.key.as_str(), problem, next_step);
    }

    fn wrong_type<T>(&self, wanted: &str, example: &str) -> Option<T> {
        let found = self.value.type_str();
        self.fault(format!("must be {wanted}, not {}", with_article(found)), format!("write it like {example}"));
        None
    }

    pub(super) fn text(&self, example: &str) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => self.wrong_type("a quoted string", example),
        }
    }

    /// The text, if it is one: where another type is wanted and a text says what was meant.
    pub(super) fn is_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        self.value.as_bool().or_else(|| self.wrong_type("true or false", "`true` or `false`, without quotes"))
    }

    pub(super) fn integer(&self, range: RangeInclusive<u32>, why: &str) -> Option<u32> {
        let Some(integer) = self.value.as_integer() else {
            return self.wrong_type("a whole number", &format!("`{}`, without quotes", range.end()));
        };
        // A number too long for an i64 is out of every range here.
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(|n| n.try_into().ok());
        let accepted = number.filter(|number| range.contains(number));
        if accepted.is_none() {
            let next = format!("use a number from {} to {}: {why}", range.start(), range.end());
            self.fault(format!("{} is out of range", integer.as_str()), next);
        }
        accepted
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let listed = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let written = self.text(&listed.replace(", ", " or "))?;
        let chosen = choices.iter().find(|(word, _)| *word == written).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let meant = closest(written, &words).map(|word| format!("did you mean \"{word}\"? "));
            let next_step = format!("{}use one of {listed}", meant.unwrap_or_default());
            self.fault(format!("\"{}\" is not a valid value", written.escape_debug()), next_step);
        }
        chosen
    }

    /// The elements of a list.
    pub(super) fn items(&self, example: &str) -> Option<impl Iterator<Item = Field<'a, 'i>> + use<'a, 'i>> {
        let Some(array) = self.value.as_array() else {
            return self.wrong_type("a list in brackets", example);
        };
        let (key, faults) = (self.key.clone(), self.faults);
        Some(array.iter().map(move |item| Field::new(key.clone(), item, faults)))
    }

    pub(super) fn table(&self) -> Option<Section<'a, 'i>> {
        let Some(table) = self.value.as_table() else {
            return self.wrong_type("a section", &format!("`[{}]` on a line of its own", self.key));
        };
        let (name, span, faults) = (self.key.clone(), self.span.clone(), self.faults);
        Some(Section { name, table, span, known: Vec::new(), faults })
    }
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// The word that was meant, if one is so near that it must be.
pub(crate) fn closest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |word: &str| strsim::damerau_levenshtein(&written.to_lowercase(), &word.to_lowercase());
    known.iter().copied().filter(|key| distance(key) <= 1 + key.len() / 4).min_by_key(|key| distance(key))
}
