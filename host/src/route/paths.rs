//! The paths of one host's routes: a tree with a branch for each segment.

use std::collections::HashMap;

use super::{Entry, Request};
use crate::config::PathMatch;

/// What can follow after some segments.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// Segments that are spelt out.
    literals: HashMap<Box<str>, Self>,
    /// `{name}`
    parameter: Option<Box<Self>>,
    /// Routes whose path ends here.
    end: Vec<Entry>,
    /// `{*name}`
    rest: Vec<Entry>,
    /// Routes whose prefix ends here.
    prefix: Vec<Entry>,
}

impl Paths {
    pub(super) fn insert(&mut self, path: &PathMatch, entry: Entry) {
        let entries = match path {
            PathMatch::Prefix(path) => &mut self.literal(path.trim_end_matches('/')).prefix,
            PathMatch::Exact(path) => &mut self.literal(path).end,
            PathMatch::Pattern(path) => self.pattern(path),
        };
        // Sorted once here, so that the first that matches is the right one.
        let place = entries.partition_point(|other| other.rank() < entry.rank());
        entries.insert(place, entry);
    }

    /// The target of the first route that matches.
    pub(super) fn find(&self, path: &str, request: Request<'_>) -> Option<usize> {
        match path.strip_prefix('/') {
            Some(rest) => self.find_rest(Some(rest), request),
            // `OPTIONS *` is about the host as a whole.
            None => first(&self.prefix, request),
        }
    }

    /// `rest` is what follows the slash, if there is one. Each step goes one segment deeper, but no deeper than the routes.
    fn find_rest(&self, rest: Option<&str>, request: Request<'_>) -> Option<usize> {
        let Some(rest) = rest else {
            return first(&self.end, request).or_else(|| first(&self.prefix, request));
        };
        let (segment, after) = match rest.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (rest, None),
        };
        let literal = self.literals.get(segment).and_then(|paths| paths.find_rest(after, request));
        let parameter = || self.parameter.as_ref().filter(|_| !segment.is_empty())?.find_rest(after, request);
        let wildcard = || first(&self.rest, request).filter(|_| !rest.is_empty());
        literal.or_else(parameter).or_else(wildcard).or_else(|| first(&self.prefix, request))
    }

    /// The places of all routes, in the order in which they are tried.
    pub(super) fn in_order(&self) -> Vec<usize> {
        let mut literals: Vec<_> = self.literals.iter().collect();
        literals.sort_by_key(|(segment, _)| *segment);
        let deeper = literals.into_iter().map(|(_, paths)| paths).chain(self.parameter.as_deref());
        let here = [&self.rest, &self.end, &self.prefix].into_iter().flatten().map(|entry| entry.target);
        deeper.flat_map(Self::in_order).chain(here).collect()
    }

    fn literal(&mut self, path: &str) -> &mut Self {
        path.split('/').skip(1).fold(self, |paths, segment| paths.literals.entry(segment.into()).or_default())
    }

    fn pattern(&mut self, path: &str) -> &mut Vec<Entry> {
        let mut paths = self;
        for segment in path.split('/').skip(1) {
            if segment.starts_with("{*") {
                return &mut paths.rest;
            }
            paths = match segment.starts_with('{') {
                true => paths.parameter.get_or_insert_default(),
                false => paths.literals.entry(segment.into()).or_default(),
            };
        }
        &mut paths.end
    }
}

fn first(entries: &[Entry], request: Request<'_>) -> Option<usize> {
    entries.iter().find(|entry| entry.matches(request)).map(|entry| entry.target)
}
