//! Where the parts of a plugin's configuration stand in the file.

use std::collections::BTreeMap;

use super::At;

/// Where each part of a plugin's configuration stands in the file, by its JSON pointer (RFC 6901). Empty if the file has
/// none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<String, Place>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    key: Option<At>,
    value: At,
}

impl Places {
    /// Where the value at `pointer` stands, or else the nearest that it is within.
    #[must_use]
    pub fn value(&self, pointer: &str) -> Option<&At> {
        self.nearest(pointer).map(|place| &place.value)
    }

    /// Where the key of the value at `pointer` stands: the value itself if it has no key, as an element has none.
    #[must_use]
    pub fn key(&self, pointer: &str) -> Option<&At> {
        self.nearest(pointer).map(|place| place.key.as_ref().unwrap_or(&place.value))
    }

    /// The pointer to what is called `key` in the table at `parent`.
    #[must_use]
    pub fn child(parent: &str, key: &str) -> String {
        format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
    }

    pub(super) fn note(&mut self, pointer: &str, key: Option<&At>, value: &At) {
        self.0.insert(pointer.to_owned(), Place { key: key.cloned(), value: value.clone() });
    }

    fn nearest(&self, mut pointer: &str) -> Option<&Place> {
        loop {
            if let Some(place) = self.0.get(pointer) {
                return Some(place);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> At {
        At { path: path.to_owned(), span: 0..1 }
    }

    #[test]
    fn what_is_not_there_is_sought_further_up() {
        let mut places = Places::default();
        assert_eq!(places.value("/a"), None);
        places.note("", None, &at("whole"));
        places.note("/a~1b", Some(&at("key")), &at("value"));
        assert_eq!(Places::child("", "a/b"), "/a~1b");
        assert_eq!(places.value("/a~1b").map(|at| &*at.path), Some("value"));
        assert_eq!(places.key("/a~1b/c/0").map(|at| &*at.path), Some("key"));
        assert_eq!(places.key("/x").map(|at| &*at.path), Some("whole"));
    }
}
