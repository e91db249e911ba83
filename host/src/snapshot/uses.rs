//! The uses of plugins in a configuration: which there are, and that each is loaded.

use std::borrow::Cow;
use std::iter::{self, zip};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::config::{self, At, Balance, Config, Problems};
use crate::plugin::{LoadError, Objection, Place, PluginUse, Plugins, UseError};
use crate::tenant::Tenant;

/// One way in which the configuration uses a plugin: all places that use it in the same way share it.
pub(super) struct Use<'a> {
    name: &'a str,
    /// As this use has it.
    plugin: Cow<'a, config::Plugin>,
    /// The first place that asks for it.
    at: &'a At,
    loaded: Option<Arc<PluginUse>>,
}

impl Use<'_> {
    fn is(&self, name: &str, plugin: &config::Plugin) -> bool {
        let own = &self.plugin;
        self.name == name
            && own.config == plugin.config
            && own.limits == plugin.limits
            && own.on_failure == plugin.on_failure
            && own.tick == plugin.tick
    }
}

/// Loads every use of a plugin whose name is `wanted`, and takes the others from those that are known.
pub(super) fn load_plugins<'a>(
    config: &'a Config,
    tenant: Option<&Arc<Tenant>>,
    known: &[Arc<PluginUse>],
    wanted: impl Fn(&str) -> bool,
    plugins: &Plugins,
    problems: &mut Problems,
) -> Vec<Use<'a>> {
    let mut uses = distinct_uses(config);
    for plugin in uses.iter_mut().filter(|plugin| !wanted(plugin.name)) {
        plugin.loaded = known.iter().find(|known| known.is(plugin.name, &plugin.plugin)).cloned();
    }
    let place = Place { folder: config.source.folder(), registries: &config.registries, kv: &config.kv };
    let missing: Vec<_> = uses.iter().filter(|plugin| plugin.loaded.is_none()).collect();
    // Compiling takes from 15 ms to seconds each; a component that is known already takes none.
    let load = |plugin: &Use<'a>| {
        plugins.use_for(tenant, plugin.name, &plugin.plugin, place, predecessor(plugin, &missing, known))
    };
    let panicked = |name| LoadError(format!("plugin {name:?} made the host panic while it was loaded")).into();
    let results: Vec<Result<_, UseError>> = zip(&missing, at_once(&missing, |plugin| load(plugin)))
        .map(|(plugin, result)| result.unwrap_or_else(|_| Err(panicked(plugin.name))))
        .collect();
    let mut told: Vec<String> = Vec::new();
    let missing = uses.iter_mut().filter(|plugin| plugin.loaded.is_none());
    for (plugin, result) in missing.zip(results) {
        match result {
            Ok(loaded) => plugin.loaded = Some(loaded),
            Err(UseError::Config { objections, .. }) => object(plugin, objections, problems),
            Err(UseError::Load(LoadError(sentence))) => {
                // A file that cannot be read is one problem, however many configurations it is used with.
                if !told.contains(&sentence) {
                    problems.push(plugin.at, sentence.as_str());
                    told.push(sentence);
                }
            }
        }
    }
    uses
}

/// Does `work` to each thing, some at a time, and says in their order what came of it, or that it panicked.
fn at_once<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<thread::Result<R>> {
    let next = AtomicUsize::new(0);
    let take = || {
        let index = next.fetch_add(1, Ordering::Relaxed);
        things.get(index).map(|thing| (index, panic::catch_unwind(AssertUnwindSafe(|| work(thing)))))
    };
    let mut done: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..things.len().min(MOST_AT_ONCE))
            .map(|_| scope.spawn(|| iter::from_fn(take).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Whose place a use takes: that of the use with the same settings, whatever its component was; or, if the settings are new,
/// that of the only use of this name, if this is the only one now.
fn predecessor<'a>(plugin: &Use<'_>, uses: &[&Use<'_>], known: &'a [Arc<PluginUse>]) -> Option<&'a PluginUse> {
    let mut of_that_name = known.iter().filter(|known| *known.name == *plugin.name);
    let same = of_that_name.clone().find(|known| known.is(plugin.name, &plugin.plugin));
    let only = || {
        let first = of_that_name.next()?;
        let alone = of_that_name.next().is_none() && uses.iter().filter(|it| it.name == plugin.name).count() == 1;
        alone.then_some(first)
    };
    same.or_else(only).map(|known| &**known)
}

/// Tells what the plugin's schema does not allow, each where it stands.
fn object(plugin: &Use<'_>, objections: Vec<Objection>, problems: &mut Problems) {
    let places = &plugin.plugin.places;
    for Objection { pointer, about_key, sentence, hint } in objections {
        let at = if about_key { places.key(&pointer) } else { places.value(&pointer) };
        let (at, sentence) = match at {
            Some(at) => (at, sentence),
            // There is no configuration to point into.
            None => (plugin.at, format!("plugin {:?} needs a configuration: {sentence}", plugin.name)),
        };
        // Uses that differ in their limits alone share one configuration.
        if problems.iter().any(|known| known.at == *at && known.sentence == sentence) {
            continue;
        }
        problems.push(at, sentence);
        if let Some(hint) = hint {
            problems.hint(hint);
        }
    }
}

pub(super) fn loaded(uses: Vec<Use<'_>>) -> Vec<Arc<PluginUse>> {
    let mut loaded: Vec<_> = uses.into_iter().filter_map(|plugin| plugin.loaded).collect();
    // What is collected stays where it was taken from, which is a hundred times as large.
    loaded.shrink_to_fit();
    loaded
}

fn distinct_uses(config: &Config) -> Vec<Use<'_>> {
    let mut uses: Vec<Use<'_>> = Vec::new();
    let in_listeners = config.listeners.iter().flat_map(|listener| &listener.plugins);
    for plugin in config.routes.iter().flat_map(|route| &route.plugins).chain(in_listeners) {
        // A name that is not there has been told when the file was read.
        let Some((name, own)) = config.plugins.get_key_value(&plugin.name.value) else { continue };
        let at = if plugin.config.is_some() { &plugin.name.at } else { &own.at };
        let plugin = plugin.of(own);
        if !uses.iter().any(|known| known.is(name, &plugin)) {
            uses.push(Use { name, plugin, at, loaded: None });
        }
    }
    for upstream in config.upstreams.values() {
        let Balance::Plugin(picker) = &upstream.balance else { continue };
        let Some((name, own)) = config.plugins.get_key_value(&picker.value) else { continue };
        if !uses.iter().any(|known| known.is(name, own)) {
            uses.push(Use { name, plugin: Cow::Borrowed(own), at: &own.at, loaded: None });
        }
    }
    uses
}

pub(super) fn find_use<'a>(uses: &'a [Use<'_>], name: &str, plugin: &config::Plugin) -> Option<&'a Arc<PluginUse>> {
    uses.iter().find(|known| known.is(name, plugin))?.loaded.as_ref()
}

/// How many are loaded at a time. More than there are cores: some wait for a registry.
const MOST_AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_at_once_keeps_its_order_and_a_panic_is_that_of_one() {
        let things: Vec<usize> = (0..100).collect();
        let busy = AtomicUsize::new(0);
        let done = at_once(&things, |thing| {
            assert!(busy.fetch_add(1, Ordering::SeqCst) < MOST_AT_ONCE);
            thread::yield_now();
            busy.fetch_sub(1, Ordering::SeqCst);
            assert_ne!(*thing, 7);
            thing * 2
        });
        for (thing, result) in zip(&things, &done) {
            assert_eq!(result.as_ref().ok(), (*thing != 7).then_some(&(thing * 2)));
        }
        assert_eq!(done.len(), things.len());
    }
}
