//! Reading one table or value of the file: every key is asked for by name, whatever is left over is a problem, and a value
//! of the wrong kind is a problem too. Reading goes on after each, so that all of them are reported at once.

mod json;

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::problems::Problems;
use super::{At, Located, units};

/// A table of the file, from which keys are taken one by one.
pub(crate) struct Table<'a, 'i> {
    /// Where it stands.
    pub(crate) at: At,
    entries: DeTable<'i>,
    asked: Vec<&'static str>,
    problems: &'a RefCell<Problems>,
}

/// A value of the file, to be read as one kind or another. Each of the readers reports what is wrong and answers none.
pub(crate) struct Value<'a, 'i> {
    /// Where it stands.
    pub(crate) at: At,
    value: DeValue<'i>,
    problems: &'a RefCell<Problems>,
}

impl<'a, 'i> Table<'a, 'i> {
    /// The whole file.
    pub(crate) fn root(entries: DeTable<'i>, problems: &'a RefCell<Problems>) -> Self {
        Self { at: At::default(), entries, asked: Vec::new(), problems }
    }

    /// The value of `key`, if it is there.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value<'a, 'i>> {
        self.asked.push(key);
        let (key, value) = self.entries.remove_entry(key)?;
        Some(self.value(key, value))
    }

    /// Reads the value of `key`. None if it is not there, or not right.
    pub(crate) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value<'a, 'i>) -> Option<T>,
    ) -> Option<T> {
        self.take(key).and_then(read)
    }

    /// Reads the value of `key`, or leaves `target` as it is.
    pub(crate) fn set<T>(&mut self, key: &'static str, target: &mut T, read: impl FnOnce(Value<'a, 'i>) -> Option<T>) {
        if let Some(value) = self.optional(key, read) {
            *target = value;
        }
    }

    /// Reads the value of `key`, which must be there.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Value<'a, 'i>) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key);
        if value.is_none() {
            self.problems.borrow_mut().push(&self.at, format!("`{key}` is missing"));
        }
        value.and_then(read)
    }

    /// Reads each element of the array `key`; empty if it is not there.
    pub(crate) fn list<T>(&mut self, key: &'static str, read: impl FnMut(Value<'a, 'i>) -> Option<T>) -> Vec<T> {
        let mut list: Vec<T> = self.optional(key, Value::array).into_iter().flatten().filter_map(read).collect();
        // Room for four was made, and most have one.
        list.shrink_to_fit();
        list
    }

    /// All that is in it, for tables whose keys are the user's.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (Located<String>, Value<'a, 'i>)> {
        let Self { at, entries, problems, .. } = self;
        entries.into_iter().map(move |(key, value)| {
            let path = child(&at.path, key.get_ref());
            let located = Located { value: key.get_ref().to_string(), at: At { path: path.clone(), span: key.span() } };
            (located, Value { at: At { path, span: value.span() }, value: value.into_inner(), problems })
        })
    }

    /// Whether `key` is there and was not taken yet.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Reports a problem with the table.
    pub(crate) fn wrong(&self, sentence: impl Into<String>) {
        self.problems.borrow_mut().push(&self.at, sentence);
    }

    /// To report problems at other places.
    pub(crate) fn problems(&self) -> &'a RefCell<Problems> {
        self.problems
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self) {
        let mut problems = self.problems.borrow_mut();
        for key in self.entries.keys() {
            let at = At { path: child(&self.at.path, key.get_ref()), span: key.span() };
            problems.push(&at, format!("unknown key {:?}", key.get_ref()));
            match super::nearest(key.get_ref(), self.asked.iter().copied()) {
                Some(near) => problems.hint(format!("did you mean `{near}`?")),
                None => problems.hint(format!("the keys here are {}", and(&self.asked))),
            };
        }
    }

    fn value(&self, key: Spanned<DeString<'i>>, value: Spanned<DeValue<'i>>) -> Value<'a, 'i> {
        let path = child(&self.at.path, key.get_ref());
        Value { at: At { path, span: value.span() }, value: value.into_inner(), problems: self.problems }
    }
}

impl<'a, 'i> Value<'a, 'i> {
    /// A whole number within `range`.
    pub(crate) fn integer<T>(self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let DeValue::Integer(digits) = &self.value else { return self.unexpected("a whole number") };
        let number = i128::from_str_radix(digits.as_str(), digits.radix()).ok();
        match number.and_then(|number| T::try_from(number).ok()).filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => self.wrong(format!("{digits} is not between {} and {}", range.start(), range.end())),
        }
    }

    /// A whole number within `range`, or `"unlimited"`, which is `u64::MAX`.
    pub(crate) fn integer_or_unlimited(self, range: RangeInclusive<u64>) -> Option<u64> {
        if self.is_unlimited() { Some(u64::MAX) } else { self.integer(range) }
    }

    /// Whether it is `"unlimited"`.
    pub(crate) fn is_unlimited(&self) -> bool {
        matches!(&self.value, DeValue::String(text) if text == "unlimited")
    }

    /// A number from 0 to 1.
    pub(crate) fn fraction(self) -> Option<f64> {
        let number = match &self.value {
            DeValue::Float(digits) => digits.as_str().parse().ok(),
            DeValue::Integer(digits) => digits.as_str().parse().ok(),
            _ => return self.unexpected("a number from 0 to 1"),
        };
        let right = |number: &f64| (0.0..=1.0).contains(number);
        number.filter(right).or_else(|| self.wrong("this is not between 0 and 1"))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(value),
            _ => self.unexpected("`true` or `false`"),
        }
    }

    /// A text, with its place.
    pub(crate) fn string(self) -> Option<Located<String>> {
        self.string_or("a text")
    }

    /// A text, where something else would have been right as well, which `expected` describes.
    pub(crate) fn string_or(self, expected: &str) -> Option<Located<String>> {
        match self.value {
            DeValue::String(text) => Some(Located { value: text.into_owned(), at: self.at }),
            _ => self.unexpected(expected),
        }
    }

    /// A text that `parse` makes sense of; if not, it says why not.
    pub(crate) fn parsed<T>(self, parse: impl FnOnce(&str) -> Result<T, Mistake>) -> Option<T> {
        self.located(parse).map(|located| located.value)
    }

    /// A text that `parse` makes sense of, with its place; if not, it says why not.
    pub(crate) fn located<T>(self, parse: impl FnOnce(&str) -> Result<T, Mistake>) -> Option<Located<T>> {
        let problems = self.problems;
        let text = self.string()?;
        match parse(&text.value) {
            Ok(value) => Some(Located { value, at: text.at }),
            Err(mistake) => {
                mistake.report(&text.at, &mut problems.borrow_mut());
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Clone>(self, words: &[(&str, T)]) -> Option<T> {
        self.parsed(|text| {
            if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
                return Ok(value.clone());
            }
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let mistake = Mistake::new(format!("{text:?} is not {}", or(&known)));
            Err(match super::nearest(text, known) {
                Some(near) => mistake.hint(format!("did you mean {near:?}?")),
                None => mistake,
            })
        })
    }

    /// A duration such as `"30s"` within `range`.
    pub(crate) fn duration(self, range: RangeInclusive<Duration>) -> Option<Duration> {
        if let DeValue::Integer(digits) = &self.value {
            let hint = format!("write \"{digits}s\" for seconds, or \"{digits}ms\" for milliseconds");
            return self.wrong_with("a duration needs a unit", hint);
        }
        if !matches!(self.value, DeValue::String(_)) {
            return self.unexpected("a duration such as \"30s\"");
        }
        self.parsed(|text| {
            let Some(duration) = units::parse_duration(text) else {
                let mistake = Mistake::new(format!("{text:?} is not a duration"));
                return Err(mistake.hint("write it as in \"30s\", \"100ms\" or \"1h 30m\""));
            };
            if !range.contains(&duration) {
                let [low, high] = [*range.start(), *range.end()].map(units::show_duration);
                return Err(Mistake::new(format!("{text:?} is not between {low} and {high}")));
            }
            Ok(duration)
        })
    }

    /// A size such as `"64 KiB"`, or a number of bytes, within `range`.
    pub(crate) fn size(self, range: RangeInclusive<u64>) -> Option<u64> {
        let (size, written) = match &self.value {
            DeValue::Integer(digits) => (u64::from_str_radix(digits.as_str(), digits.radix()).ok(), digits.to_string()),
            DeValue::String(text) => (units::parse_size(text), format!("{text:?}")),
            _ => return self.unexpected("a size such as \"64 KiB\""),
        };
        match size {
            Some(size) if range.contains(&size) => Some(size),
            Some(size) => {
                let [size, low, high] = [size, *range.start(), *range.end()].map(units::show_size);
                self.wrong(format!("{size} is not between {low} and {high}"))
            }
            None => {
                self.wrong_with(format!("{written} is not a size"), "write it as in \"64 KiB\", \"1.5 MB\" or 65536")
            }
        }
    }

    /// Like [`Self::size`], for what is kept in memory.
    pub(crate) fn bytes(self, range: RangeInclusive<usize>) -> Option<usize> {
        let [low, high] = [*range.start(), *range.end()].map(|size| size as u64);
        self.size(low..=high).and_then(|size| usize::try_from(size).ok())
    }

    /// Like [`Self::size`], or `"unlimited"`, which is `u64::MAX`.
    pub(crate) fn size_or_unlimited(self) -> Option<u64> {
        if self.is_unlimited() { Some(u64::MAX) } else { self.size(0..=u64::MAX) }
    }

    /// Like [`Self::size_or_unlimited`], or `"auto"`, which is none.
    pub(super) fn memory(self) -> Option<Option<u64>> {
        match self.value {
            DeValue::String(text) if text == "auto" => Some(None),
            _ if self.is_unlimited() => Some(Some(u64::MAX)),
            _ => self.size(16 << 20..=u64::MAX).map(Some),
        }
    }

    /// A table.
    pub(crate) fn table(self) -> Option<Table<'a, 'i>> {
        self.table_or("a table")
    }

    /// A table, where something else would have been right as well, which `expected` describes.
    pub(crate) fn table_or(self, expected: &str) -> Option<Table<'a, 'i>> {
        match self.value {
            DeValue::Table(entries) => Some(Table { at: self.at, entries, asked: Vec::new(), problems: self.problems }),
            DeValue::Array(_) if !self.at.path.contains(['.', '[']) => {
                let hint = format!("write [{}], with one bracket", self.at.path);
                self.wrong_with(format!("expected {expected}, found an array"), hint)
            }
            _ => self.unexpected(expected),
        }
    }

    /// A table whose keys are names of the user's.
    pub(crate) fn named(self) -> Option<Table<'a, 'i>> {
        match self.value {
            DeValue::Array(_) => {
                let hint = format!("write [{}.NAME] for each", self.at.path);
                self.wrong_with("expected a table of names, found an array", hint)
            }
            _ => self.table_or("a table of names"),
        }
    }

    /// The elements of an array.
    pub(crate) fn array(self) -> Option<Vec<Self>> {
        let Self { at, value, problems } = self;
        let elements = match value {
            DeValue::Array(elements) => elements,
            // `[route]` where `[[route]]` is meant is so common that it deserves an answer of its own.
            DeValue::Table(_) => {
                let hint = format!("if it is a section, write [[{}]]", without_indices(&at.path));
                return Self { at, value, problems }.wrong_with("expected an array, found a table", hint);
            }
            value => return Self { at, value, problems }.unexpected("an array"),
        };
        let element = |(index, element): (usize, Spanned<DeValue<'i>>)| {
            let at = At { path: format!("{}[{index}]", at.path), span: element.span() };
            Self { at, value: element.into_inner(), problems }
        };
        Some(elements.into_iter().enumerate().map(element).collect())
    }

    /// The elements of an array that has some; `empty` is the problem if it has none.
    pub(crate) fn filled_array(self, empty: &str) -> Option<Vec<Self>> {
        match &self.value {
            DeValue::Array(elements) if elements.is_empty() => self.wrong(empty),
            _ => self.array(),
        }
    }

    /// Whether it is a text.
    pub(crate) fn is_string(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    /// Whether it is a text that begins with that.
    pub(crate) fn begins_with(&self, beginning: &str) -> bool {
        matches!(&self.value, DeValue::String(text) if text.starts_with(beginning))
    }

    /// Whether it is `false`.
    pub(crate) fn is_false(&self) -> bool {
        matches!(self.value, DeValue::Boolean(false))
    }

    /// Whether it is an array.
    pub(crate) fn is_array(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// Whether it is a truth value.
    pub(crate) fn is_boolean(&self) -> bool {
        matches!(self.value, DeValue::Boolean(_))
    }

    /// Whether it is a table.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// Whether it is a whole number.
    pub(crate) fn is_integer(&self) -> bool {
        matches!(self.value, DeValue::Integer(_))
    }

    /// To report problems at other places.
    pub(crate) fn problems(&self) -> &'a RefCell<Problems> {
        self.problems
    }

    /// Reports a problem with it; answers none.
    pub(crate) fn wrong<T>(&self, sentence: impl Into<String>) -> Option<T> {
        self.problems.borrow_mut().push(&self.at, sentence);
        None
    }

    /// Reports a problem with it, with a hint; answers none.
    pub(crate) fn wrong_with<T>(&self, sentence: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.problems.borrow_mut().push(&self.at, sentence).hint(hint);
        None
    }

    /// Reports that it should be another kind of value; answers none.
    pub(crate) fn unexpected<T>(&self, expected: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a truth value",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.wrong(format!("expected {expected}, found {found}"))
    }
}

/// Why a text is not what it should be.
#[derive(Debug)]
pub(crate) struct Mistake {
    sentence: String,
    hint: Option<String>,
}

impl Mistake {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn report(self, at: &At, problems: &mut Problems) {
        problems.push(at, self.sentence);
        if let Some(hint) = self.hint {
            problems.hint(hint);
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentence)?;
        self.hint.iter().try_for_each(|hint| write!(out, "; {hint}"))
    }
}

/// The path of a key within a table, quoted as TOML wants it.
pub(crate) fn child(parent: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let dot = if parent.is_empty() { "" } else { "." };
    if bare { format!("{parent}{dot}{key}") } else { format!("{parent}{dot}{key:?}") }
}

/// `listener.certificate` for `listener[0].certificate`: how a section's header names it.
fn without_indices(path: &str) -> String {
    path.split('.').map(|key| key.split('[').next().unwrap_or(key)).collect::<Vec<_>>().join(".")
}

/// "a", "a" or "b"; with quotes.
fn or(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    enumerate(&quoted, "or")
}

/// a, b and c; as code.
fn and(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    enumerate(&quoted, "and")
}

fn enumerate(words: &[String], last: &str) -> String {
    match words {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [most @ .., end] => format!("{} {last} {end}", most.join(", ")),
    }
}
