//! Names of routes, with numbers in their places for those who count by route.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

/// The name of a route. As long as the process runs, a number is always the same name.
#[derive(Debug, Clone)]
pub struct RouteName(Arc<Named>);

#[derive(Debug)]
struct Named {
    text: Box<str>,
    number: u32,
}

impl RouteName {
    /// The number that stands for the name.
    #[must_use]
    #[inline]
    pub fn number(&self) -> u32 {
        self.0.number
    }
}

impl From<&str> for RouteName {
    fn from(text: &str) -> Self {
        NAMES.lock().unwrap_or_else(PoisonError::into_inner).find_or_add(text)
    }
}

impl Deref for RouteName {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        &self.0.text
    }
}

/// The names that routes have now.
#[derive(Default)]
struct Names {
    known: HashMap<Box<str>, Weak<Named>>,
    given: u32,
    /// Once there are so many, those that no route has any more are forgotten.
    crowd: usize,
}

impl Names {
    fn find_or_add(&mut self, text: &str) -> RouteName {
        if let Some(named) = self.known.get(text).and_then(Weak::upgrade) {
            return RouteName(named);
        }
        if self.known.len() >= self.crowd {
            self.known.retain(|_, named| named.strong_count() > 0);
            self.crowd = (self.known.len() * 2).max(64);
        }
        self.given = self.given.wrapping_add(1);
        let named = Arc::new(Named { text: text.into(), number: self.given });
        self.known.insert(text.into(), Arc::downgrade(&named));
        RouteName(named)
    }
}

static NAMES: LazyLock<Mutex<Names>> = LazyLock::new(Mutex::default);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_gives_it_to_no_other() {
        let mut names = Names::default();
        let first = names.find_or_add("first");
        for other in 0..1000 {
            assert_ne!(names.find_or_add(&other.to_string()).number(), first.number());
        }
        assert_eq!(names.find_or_add("first").number(), first.number());
        assert!(names.known.len() <= 65, "{} names are remembered", names.known.len());
    }
}
