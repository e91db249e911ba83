//! What plugins may reach outside their sandbox: what a component needs, what the configuration grants, and what of it one
//! worker holds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::config;
use crate::kv::{self, KeySpace};
use crate::outbound::{Access, Client, StandIn};

/// Grants, by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Grants {
    /// For `http-client`.
    pub(super) http: bool,
    /// For `kv`.
    pub(super) kv: bool,
}

/// What a use may reach, made ready and shared by all workers.
#[derive(Debug, Default)]
pub(super) struct Outside {
    http: Option<Arc<Access>>,
    kv: Option<KeySpace>,
    /// The world of a scenario, instead of the real one.
    pub(super) stand_in: Option<Arc<StandIn>>,
    /// Handed down from one version of the plugin to the next.
    pub(super) traffic: Arc<Traffic>,
}

/// How often a use reached outside, by outcome.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// HTTP calls, on all workers.
    pub(super) under_way: AtomicUsize,
    pub(super) http_outcomes: Outcomes<11>,
    pub(super) kv_outcomes: Outcomes<5>,
}

/// One worker's ways to the outside, for one use: its connections.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub(super) http: Option<Client>,
    pub(super) kv: Option<Store>,
}

/// A key space, as one worker reaches it.
#[derive(Debug, Clone)]
pub(super) enum Store {
    Memory(Arc<kv::Space>),
    /// With what the keys begin with.
    Redis(Arc<kv::Connection>, Arc<str>),
}

/// How many operations ended how.
#[derive(Debug)]
pub(super) struct Outcomes<const N: usize> {
    names: [&'static str; N],
    counts: [AtomicU64; N],
}

impl Grants {
    /// What components need that import these interfaces of the contract.
    pub(super) fn needed<'a>(imports: impl Iterator<Item = &'a str>) -> Self {
        imports.fold(Self::default(), |needed, interface| match interface {
            "http-client" => Self { http: true, ..needed },
            "kv" => Self { kv: true, ..needed },
            _ => needed,
        })
    }

    /// What the configuration gives.
    pub(super) fn given(grants: &config::Grants) -> Self {
        Self { http: !grants.http.is_empty(), kv: grants.kv }
    }

    /// Holds what a component needs against what it is given.
    ///
    /// # Errors
    /// What is wrong, with both lists.
    pub(super) fn check(self, given: Self) -> Result<(), String> {
        if self.without(given) == Self::default() {
            return Ok(());
        }
        let mut hints = Vec::new();
        if self.http && !given.http {
            hints.push("http = [\"https://HOST/PATH\"]");
        }
        if self.kv && !given.kv {
            hints.push("kv = true");
        }
        let hints = hints.join(", ");
        Err(format!(
            "needs the grants {self}, and is given {given}: add grants = {{ {hints} }} if you trust it with that"
        ))
    }

    /// Those that are not in `others`.
    pub(super) fn without(self, others: Self) -> Self {
        Self { http: self.http && !others.http, kv: self.kv && !others.kv }
    }

    /// Their names.
    pub(super) fn names(self) -> Vec<&'static str> {
        [(self.http, "http"), (self.kv, "kv")].into_iter().filter_map(|(is, name)| is.then_some(name)).collect()
    }
}

impl std::fmt::Display for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.names();
        if names.is_empty() {
            return f.write_str("none");
        }
        write!(f, "`{}`", names.join("` and `"))
    }
}

impl Outside {
    /// What of the grants is needed, made ready.
    pub(super) fn new(
        needed: Grants,
        grants: &config::Grants,
        folder: &Path,
        key_space: impl FnOnce() -> KeySpace,
        stand_in: Option<&Arc<StandIn>>,
    ) -> Result<Self, String> {
        let access = || {
            let access = Access::new(grants, folder).map_err(|error| format!("cannot have its grants: {error}"))?;
            Ok::<_, String>(access.answered_by(stand_in.cloned()))
        };
        let http = needed.http.then(access).transpose()?.map(Arc::new);
        Ok(Self { http, kv: needed.kv.then(key_space), stand_in: stand_in.cloned(), ..Self::default() })
    }

    /// The same, going on with what the version before has counted.
    pub(super) fn succeeding(self, predecessor: Option<&Self>) -> Self {
        let traffic = predecessor.map_or(self.traffic, |outside| outside.traffic.clone());
        Self { traffic, ..self }
    }

    /// What tells it from others: one that allows the same has the same.
    pub(super) fn fingerprint(&self) -> String {
        format!("{:?} {:?}", self.http.as_ref().map(|access| access.fingerprint()), self.kv)
    }

    /// Ways for one worker, without connections as yet.
    pub(super) fn reach(&self, connections: &kv::Connections) -> Reach {
        let kv = self.kv.as_ref().map(|space| match space {
            KeySpace::Memory(space) => Store::Memory(space.clone()),
            KeySpace::Redis(server, prefix) => Store::Redis(connections.of(server), prefix.clone()),
        });
        Reach { http: self.http.as_ref().map(|access| Client::new(access.clone())), kv }
    }

    /// Its key space, if it has one in memory.
    pub(super) fn space(&self) -> Option<&Arc<kv::Space>> {
        match &self.kv {
            Some(KeySpace::Memory(space)) => Some(space),
            Some(KeySpace::Redis(..)) | None => None,
        }
    }

    /// How full its key space is, if it has one in memory.
    pub(super) fn usage(&self) -> Option<kv::Usage> {
        match &self.kv {
            Some(KeySpace::Memory(space)) => Some(space.usage()),
            Some(KeySpace::Redis(..)) | None => None,
        }
    }
}

impl<const N: usize> Outcomes<N> {
    /// Counts one. All names are listed where it is made; another would be counted as the last.
    pub(super) fn count(&self, name: &str) {
        let place = self.names.iter().position(|known| *known == name).unwrap_or(N - 1);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
    }

    /// Those that there were.
    pub(super) fn all(&self) -> Vec<(&'static str, u64)> {
        let all = self.names.iter().zip(&self.counts).map(|(name, count)| (*name, count.load(Ordering::Relaxed)));
        all.filter(|(_, count)| *count > 0).collect()
    }
}

impl Default for Outcomes<11> {
    fn default() -> Self {
        let names = [
            "answered",
            "invalid_request",
            "not_granted",
            "private_address",
            "too_many",
            "busy",
            "quota",
            "timed_out",
            "too_large",
            "connect",
            "failed",
        ];
        Self { names, counts: Default::default() }
    }
}

impl Default for Outcomes<5> {
    fn default() -> Self {
        let names = ["done", "invalid_key", "too_large", "not_a_number", "unavailable"];
        Self { names, counts: Default::default() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_missing_is_told_with_both_lists() {
        let needed = Grants::needed(["request", "http-client", "kv"].into_iter());
        assert_eq!(needed.check(Grants { http: true, kv: true }), Ok(()));
        assert_eq!(Grants::default().check(Grants::default()), Ok(()));
        let told = needed.check(Grants { http: false, kv: true }).unwrap_err();
        assert!(
            told.starts_with("needs the grants `http` and `kv`, and is given `kv`: add grants = { http = "),
            "{told}"
        );
        let told = Grants { http: false, kv: true }.check(Grants::default()).unwrap_err();
        assert!(told.starts_with("needs the grants `kv`, and is given none: add grants = { kv = true }"), "{told}");
    }
}
