//! What is wrong with a configuration: every problem with its place in the file, a sentence, and often a hint.

use std::fmt;

use super::{At, Source};

/// All that is wrong with one configuration, in the order of the file. Printed, it looks like a compiler's report.
#[derive(Debug, Clone)]
pub struct Problems {
    source: Source,
    list: Vec<Problem>,
    /// Of other files.
    others: Vec<Self>,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was made.
    pub at: At,
    /// What is wrong, in lower case, naming the thing.
    pub sentence: String,
    /// What to write instead, or where the other half of a conflict stands.
    pub hint: Option<String>,
}

impl Problems {
    /// None yet. `source` gives the lines and columns.
    #[must_use]
    pub fn new(source: &Source) -> Self {
        Self { source: source.clone(), list: Vec::new(), others: Vec::new() }
    }

    /// Adds a problem.
    pub fn push(&mut self, at: &At, sentence: impl Into<String>) -> &mut Self {
        self.list.push(Problem { at: at.clone(), sentence: sentence.into(), hint: None });
        self
    }

    /// Adds a hint to the problem that was pushed last.
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        if let Some(last) = self.list.last_mut() {
            last.hint = Some(hint.into());
        }
        self
    }

    /// Adds the name in `right` that is nearest to `wrong` as a hint to the problem that was pushed last, if one is near.
    pub fn did_you_mean<'a>(&mut self, wrong: &str, right: impl IntoIterator<Item = &'a str>) -> &mut Self {
        match nearest(wrong, right) {
            Some(near) => self.hint(format!("did you mean {near:?}?")),
            None => self,
        }
    }

    /// Adds those of `others` that are about a place where nothing is wrong yet: one mistake may be found twice.
    pub fn add_elsewhere(&mut self, others: &Self) {
        let elsewhere = |problem: &&Problem| !self.list.iter().any(|known| meet(&known.at.path, &problem.at.path));
        let new: Vec<_> = others.list.iter().filter(elsewhere).cloned().collect();
        self.list.extend(new);
    }

    /// Adds what is wrong with another file.
    pub fn add_file(&mut self, mut others: Self) {
        let further = std::mem::take(&mut others.others);
        if !others.list.is_empty() {
            self.others.push(others);
        }
        self.others.extend(further);
    }

    /// Those of other files.
    #[must_use]
    pub fn others(&self) -> &[Self] {
        &self.others
    }

    /// Those of this file, and then those of each other.
    pub fn by_file(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).filter(|own| !own.list.is_empty()).chain(&self.others)
    }

    /// Whether something is wrong at `at` or within it.
    #[must_use]
    pub fn are_within(&self, at: &At) -> bool {
        self.list.iter().any(|problem| is_within(&problem.at.path, &at.path))
    }

    /// The file, line and column of `at`, as a compiler would print them.
    #[must_use]
    pub fn place(&self, at: &At) -> String {
        self.source.place(at)
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.others.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len() + self.others.iter().map(Self::len).sum::<usize>()
    }

    /// Each of this file, in its order.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        let mut sorted: Vec<_> = self.list.iter().collect();
        sorted.sort_by_key(|problem| problem.at.span.start);
        sorted.into_iter()
    }

    /// `Ok` if nothing is wrong.
    ///
    /// # Errors
    /// All problems, if there are any.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in self.by_file() {
            for problem in file.iter() {
                write!(out, "{}: ", file.place(&problem.at))?;
                if !problem.at.path.is_empty() {
                    write!(out, "{}: ", problem.at.path)?;
                }
                writeln!(out, "{}", problem.sentence)?;
                if let Some(hint) = &problem.hint {
                    writeln!(out, "  help: {hint}")?;
                }
            }
        }
        match self.len() {
            1 => write!(out, "1 problem"),
            many => write!(out, "{many} problems"),
        }
    }
}

impl std::error::Error for Problems {}

impl Source {
    /// The file, line and column of `at`, as a compiler would print them.
    #[must_use]
    pub fn place(&self, at: &At) -> String {
        let file = self.path.display();
        if self.text.is_empty() {
            // Nothing was read, or there was nothing to read: a line would point nowhere.
            return file.to_string();
        }
        let (line, column) = self.line_and_column(at.span.start);
        format!("{file}:{line}:{column}")
    }

    /// The line and column of a byte of the text, both from 1; columns count characters.
    #[must_use]
    pub fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let byte = self.text.floor_char_boundary(byte);
        let before = &self.text[..byte];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }
}

/// Whether one place is within the other.
fn meet(one: &str, other: &str) -> bool {
    is_within(one, other) || is_within(other, one)
}

fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The one of `right` that somebody who wrote `wrong` most likely meant, if any is near enough to be worth saying.
pub fn nearest<'a>(wrong: &str, right: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    // A third of the letters may differ: more would suggest words that have nothing to do with it.
    let limit = (wrong.chars().count() / 3).max(1);
    let distance = |name: &str| {
        let name = name.to_lowercase();
        let distance = strsim::osa_distance(&wrong, &name);
        let shorter = wrong.len().min(name.len());
        let longer_form = shorter >= 3 && (wrong.starts_with(&name) || name.starts_with(&wrong));
        (longer_form || distance <= limit && distance < name.chars().count()).then_some(distance)
    };
    let near = right.into_iter().filter_map(|name| Some((distance(name)?, name)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source { path: "lockgate.toml".into(), text: "[server]\nvía = \"é\"; x\n".into() }
    }

    fn at(path: &str, start: usize) -> At {
        At { path: path.into(), span: start..start + 1 }
    }

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let source = source();
        assert_eq!(source.line_and_column(0), (1, 1));
        assert_eq!(source.line_and_column(9), (2, 1));
        assert_eq!(source.line_and_column(source.text.find("\"é").expect("it is there")), (2, 7));
        assert_eq!(source.line_and_column(1000), (3, 1));
    }

    #[test]
    fn it_prints_like_a_compiler_in_the_order_of_the_file() {
        let mut problems = Problems::new(&source());
        problems.push(&at("server.via", 9), "second");
        problems
            .push(&at("server", 1), "no plugin named \"ratelimt\"")
            .did_you_mean("ratelimt", ["https", "ratelimit"]);
        assert_eq!(
            problems.to_string(),
            "lockgate.toml:1:2: server: no plugin named \"ratelimt\"\n  help: did you mean \"ratelimit\"?\n\
             lockgate.toml:2:1: server.via: second\n2 problems"
        );
        assert!(problems.into_result().is_err());
    }

    #[test]
    fn what_is_known_to_be_wrong_is_not_told_again() {
        let mut problems = Problems::new(&source());
        problems.push(&at("route[1].path", 0), "first");
        assert!(problems.are_within(&at("route[1]", 0)));
        assert!(!problems.are_within(&at("route[10]", 0)) && !problems.are_within(&at("route[1].path.exact", 0)));
        let mut others = Problems::new(&source());
        for path in ["route[1]", "route[1].path", "route[1].path.exact", "route[1].paths", "route[10]"] {
            others.push(&at(path, 0), path);
        }
        problems.add_elsewhere(&others);
        let told: Vec<_> = problems.iter().map(|problem| problem.sentence.as_str()).collect();
        assert_eq!(told, ["first", "route[1].paths", "route[10]"]);
    }

    #[test]
    fn only_names_that_are_near_are_suggested() {
        assert_eq!(nearest("ratelimt", ["https", "ratelimit"]), Some("ratelimit"));
        assert_eq!(nearest("Workers", ["workers"]), Some("workers"));
        assert_eq!(nearest("information", ["error", "info"]), Some("info"));
        assert_eq!(nearest("code", ["body"]), None);
        assert_eq!(nearest("tls", ["https", "profiler"]), None);
        assert_eq!(nearest("a", ["b"]), None);
    }
}
