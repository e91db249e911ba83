//! What must not be written: the values of some fields, and of queries. The same secret becomes the same word wherever it
//! stands, so that an answer that repeats it still fits its question.

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue};

/// Redacts one exchange.
#[derive(Debug)]
pub(super) struct Redactor<'a> {
    /// Names of fields in lower case, and `query`.
    hidden: &'a [String],
    words: HashMap<String, String>,
    /// Those that are long enough to be found by themselves, the longest first.
    long: Vec<String>,
}

impl<'a> Redactor<'a> {
    pub(super) fn new(hidden: &'a [String]) -> Self {
        Self { hidden, words: HashMap::new(), long: Vec::new() }
    }

    /// Learns the secrets of these fields.
    pub(super) fn learn(&mut self, headers: &HeaderMap) {
        for (name, value) in headers {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            if self.hides(name.as_str()) {
                // What follows a scheme (RFC 9110 §11.4), and each cookie, may be repeated alone.
                for part in text
                    .split([' ', ';', ','])
                    .filter_map(|part| part.split_once('=').map_or(Some(part), |it| Some(it.1)))
                {
                    if part.len() >= LONG {
                        self.learn_word(part);
                    }
                }
                self.learn_word(&text);
            } else if text.contains('?') {
                self.learn_query(&text);
            }
        }
    }

    /// Learns the values in the query of a target or a URL.
    pub(super) fn learn_query(&mut self, target: &str) {
        if !self.hides("query") {
            return;
        }
        let Some((_, query)) = target.split_once('?') else { return };
        let query = query.split('#').next().unwrap_or_default();
        for (_, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            if !value.is_empty() {
                self.learn_word(value);
            }
        }
    }

    /// A field's value as it may be written.
    pub(super) fn field(&self, name: &str, value: &HeaderValue) -> String {
        let text = String::from_utf8_lossy(value.as_bytes());
        if self.hides(name) {
            return self.word(&text);
        }
        if text.contains('?') { self.target(&text) } else { self.text(&text) }
    }

    /// A target or a URL as it may be written.
    pub(super) fn target(&self, target: &str) -> String {
        let Some((path, query)) = target.split_once('?').filter(|_| self.hides("query")) else {
            return self.text(target);
        };
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() => format!("{}={}", self.text(name), self.word(value)),
            _ => self.text(pair),
        };
        let query = query.split('&').map(pair).collect::<Vec<_>>().join("&");
        format!("{}?{query}", self.text(path))
    }

    /// Any other text as it may be written.
    pub(super) fn text(&self, text: &str) -> String {
        self.long.iter().fold(text.to_owned(), |text, secret| match text.contains(secret.as_str()) {
            true => text.replace(secret.as_str(), &self.words[secret]),
            false => text,
        })
    }

    fn hides(&self, name: &str) -> bool {
        self.hidden.iter().any(|hidden| hidden == name)
    }

    fn word(&self, secret: &str) -> String {
        self.words.get(secret).cloned().unwrap_or_else(|| "redacted".to_owned())
    }

    fn learn_word(&mut self, secret: &str) {
        if self.words.contains_key(secret) {
            return;
        }
        let word = format!("redacted-{}", self.words.len() + 1);
        self.words.insert(secret.to_owned(), word);
        if secret.len() >= LONG {
            self.long.push(secret.to_owned());
            self.long.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }
}

/// Shorter ones stand in too many places by chance.
const LONG: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_wherever_it_stands_and_always_by_the_same_word() {
        let hidden = ["authorization", "cookie", "query"].map(str::to_owned);
        let mut redactor = Redactor::new(&hidden);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer abcdefgh"));
        headers.insert("cookie", HeaderValue::from_static("a=1; session=tellnobody"));
        headers.insert("accept", HeaderValue::from_static("*/*"));
        redactor.learn(&headers);
        redactor.learn_query("/a?user=me&key=sesame7&empty=");
        let shown = |name: &str| redactor.field(name, &headers[name]);
        assert!(!shown("authorization").contains("abcdefgh") && shown("authorization").starts_with("redacted"));
        assert!(!shown("cookie").contains("tellnobody"));
        assert_eq!(shown("accept"), "*/*");
        let target = redactor.target("/a?user=me&key=sesame7&empty=");
        assert!(target.starts_with("/a?user=redacted-") && target.ends_with("&empty="), "{target}");
        let location = redactor.field("location", &HeaderValue::from_static("https://b/a?user=me&key=sesame7&empty="));
        assert_eq!(location, format!("https://b{target}"));
        assert!(!redactor.text("the key was sesame7, of abcdefgh").contains("sesame7"));
        assert_eq!(redactor.text("some words"), "some words");
        assert!(!redactor.text("tellnobody").contains("tell"));
    }

    #[test]
    fn nothing_is_hidden_that_is_not_named() {
        let mut redactor = Redactor::new(&[]);
        redactor.learn_query("/a?b=secret77");
        assert_eq!(redactor.target("/a?b=secret77"), "/a?b=secret77");
    }
}
