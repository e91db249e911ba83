//! Plugins: wasm components, their instances, and the chain that an exchange walks. The only place that knows wasmtime.

mod chain;

pub use chain::{Chain, Pools, Run, Verdict};

use std::path::Path;
use std::sync::Arc;

use crate::config;

/// All plugins of this process: the engine, what has been compiled, what is in use.
#[derive(Debug)]
pub struct Plugins {}

/// One use of a plugin: its component with a configuration, limits and instances apart from every other use.
#[derive(Debug)]
pub struct PluginUse {
    /// The plugin's name in the configuration.
    pub name: Arc<str>,
}

/// What a plugin answered instead of a backend; already checked.
#[derive(Debug)]
pub struct Answer {
    /// 200 to 599.
    pub status: http::StatusCode,
    /// Without framing fields.
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: bytes::Bytes,
}

/// Why a plugin ended an exchange: `PluginFailed`, `PluginCapacity` or `PluginQuarantined`. The log line and the metric have
/// been written by whoever made this.
#[derive(Debug)]
pub struct Failure {
    /// The reason that the client, the log and the metrics see.
    pub reason: crate::reason::Reason,
}

/// A plugin that cannot be loaded, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

impl Plugins {
    /// Starts the engine and its ticker.
    ///
    /// # Errors
    /// When the engine cannot be had on this machine.
    pub fn new() -> Result<Self, LoadError> {
        Ok(Self {})
    }

    /// Finds or makes the use of `plugin` with that configuration: reads and compiles its component unless that is known
    /// already, makes an instance and configures it, as proof. The same name, component, configuration and limits give the
    /// same use again for as long as somebody holds it, so a reload keeps warm instances. `folder` is what relative paths
    /// are relative to. Blocking and slow: never call it on a worker.
    ///
    /// # Errors
    /// A sentence for the operator: no such file, another digest, not a component, a hook of another version, a failing
    /// `configure`.
    pub fn use_of(
        &self,
        name: &str,
        plugin: &config::Plugin,
        config: &serde_json::Value,
        folder: &Path,
    ) -> Result<Arc<PluginUse>, LoadError> {
        let _ = (plugin, config, folder);
        Ok(Arc::new(PluginUse { name: name.into() }))
    }
}

impl PluginUse {
    /// Whether the component exports that hook.
    #[must_use]
    pub fn picks_backends(&self) -> bool {
        true
    }
}
