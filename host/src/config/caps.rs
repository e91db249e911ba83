//! The most that a tenant's plugins may have of each limit.

use std::time::Duration;

use super::units::{show_duration, show_size};
use super::{Config, PluginLimits, Problems, Source, Terms};

impl PluginLimits {
    /// No less than any plugin can have.
    pub(super) const ALL: Self = Self {
        cpu: Duration::MAX,
        wall: Duration::MAX,
        memory: usize::MAX,
        instances: usize::MAX,
        exchanges: u64::MAX,
        table: usize::MAX,
        host_calls: u32::MAX,
        log: u32::MAX,
        body_held: usize::MAX,
        compile: Duration::MAX,
        http_requests: u32::MAX,
        http_concurrent: usize::MAX,
        http_response: usize::MAX,
        http_timeout: Duration::MAX,
        kv: usize::MAX,
    };
}

impl Terms {
    /// Lowers what a tenant's file leaves to the defaults, and reports what it asks for beyond [`Terms::limits`].
    pub(super) fn cap(&self, tenant: &str, config: &mut Config, operators: &Source, problems: &mut Problems) {
        let Some(most) = &self.limits else { return };
        for plugin in config.plugins.values_mut() {
            let mut cap = Cap { beyond: Vec::new() };
            cap.all(&mut plugin.limits, most, &PluginLimits::new(&plugin.component));
            for (key, wanted, most) in cap.beyond {
                let sentence = format!("`limits.{key}` is {wanted}, and the tenant {tenant:?} may have {most}");
                problems.push(&plugin.at, sentence).hint(format!("its terms are at {}", operators.place(&self.at)));
            }
        }
    }

    /// Whether no plugin has more than it may have now.
    #[must_use]
    pub fn covers_limits(&self, config: &Config) -> bool {
        let Some(most) = &self.limits else { return true };
        config.plugins.values().all(|plugin| {
            let (mut capped, mut cap) = (plugin.limits.clone(), Cap { beyond: Vec::new() });
            cap.all(&mut capped, most, &plugin.limits);
            capped == plugin.limits
        })
    }
}

/// Caps one plugin's limits.
struct Cap {
    /// What was asked for: key, wanted, most.
    beyond: Vec<(&'static str, String, String)>,
}

impl Cap {
    fn all(&mut self, own: &mut PluginLimits, most: &PluginLimits, default: &PluginLimits) {
        let (size, number) = (|size: usize| show_size(size as u64), |number: usize| number.to_string());
        let small = |number: u32| number.to_string();
        self.one("cpu", &mut own.cpu, (most.cpu, default.cpu), show_duration);
        self.one("wall", &mut own.wall, (most.wall, default.wall), show_duration);
        self.one("memory", &mut own.memory, (most.memory, default.memory), size);
        self.one("instances", &mut own.instances, (most.instances, default.instances), number);
        self.one("exchanges", &mut own.exchanges, (most.exchanges, default.exchanges), |number| number.to_string());
        self.one("table", &mut own.table, (most.table, default.table), number);
        self.one("host_calls", &mut own.host_calls, (most.host_calls, default.host_calls), small);
        self.one("log", &mut own.log, (most.log, default.log), |size| show_size(size.into()));
        self.one("body_held", &mut own.body_held, (most.body_held, default.body_held), size);
        self.one("compile", &mut own.compile, (most.compile, default.compile), show_duration);
        self.one("http_requests", &mut own.http_requests, (most.http_requests, default.http_requests), small);
        self.one("http_concurrent", &mut own.http_concurrent, (most.http_concurrent, default.http_concurrent), number);
        self.one("http_response", &mut own.http_response, (most.http_response, default.http_response), size);
        self.one("http_timeout", &mut own.http_timeout, (most.http_timeout, default.http_timeout), show_duration);
        self.one("kv", &mut own.kv, (most.kv, default.kv), size);
    }

    fn one<T: Copy + Ord>(
        &mut self,
        key: &'static str,
        own: &mut T,
        (most, default): (T, T),
        show: impl Fn(T) -> String,
    ) {
        if *own <= most {
            return;
        }
        // What is as it would be without a word was most likely not asked for.
        if *own != default {
            self.beyond.push((key, show(*own), show(most)));
        }
        *own = most;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Component;

    #[test]
    fn what_nobody_asked_for_is_lowered_and_what_somebody_did_is_told() {
        let default = PluginLimits::new(&Component::Path(crate::config::Located {
            value: "x.wasm".into(),
            at: crate::config::At::default(),
        }));
        let most = PluginLimits { wall: Duration::from_millis(500), kv: 1 << 20, log: 1, ..PluginLimits::ALL };
        let mut own = PluginLimits { log: 2, cpu: Duration::from_secs(5), ..default.clone() };
        let mut cap = Cap { beyond: Vec::new() };
        cap.all(&mut own, &most, &default);
        assert_eq!(cap.beyond, [("log", "2 B".to_owned(), "1 B".to_owned())]);
        let lowered = PluginLimits { log: 1, wall: most.wall, kv: most.kv, cpu: Duration::from_secs(5), ..default };
        assert_eq!(own, lowered);
    }
}
