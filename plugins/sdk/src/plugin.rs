//! The traits that a plugin implements, and how they become exports.

use std::cell::RefCell;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Admission, Attempt, BodyAction, Connection, NextAttempt, Summary, Verdict};

/// A plugin: something made from its configuration that lives as long as the instance.
///
/// The host makes instances when it needs them and throws them away when it likes, so what must last, or be the same for
/// all workers, belongs into [`counters`](crate::counters).
pub trait Plugin: Sized + 'static {
    /// What `config = { .. }` holds. Give it `#[serde(deny_unknown_fields)]`, so that a slip of the pen is an error.
    type Config: DeserializeOwned;

    /// Called once for each instance, before any hook.
    ///
    /// # Errors
    /// A sentence for the operator: lower case, no full stop, naming the key.
    fn new(config: Self::Config) -> Result<Self, String>;
}

/// A plugin that can show that it works before it is put into service.
pub trait SelfTest: Plugin {
    /// Called once, on an instance that serves no exchange afterwards.
    ///
    /// # Errors
    /// A sentence for the operator: lower case, no full stop. The plugin, or its new version, is then not used.
    fn self_test(&mut self) -> Result<(), String>;
}

/// A plugin that hands what it knows to the version that takes its place.
pub trait State: Plugin {
    /// What it knows, 1 MiB at most. Begin with a version of the format: who reads it was built later.
    fn export_state(&mut self) -> Vec<u8>;

    /// What the predecessor knew. Called right after [`Plugin::new`], on one instance of each worker.
    ///
    /// # Errors
    /// A sentence for the operator. The plugin then starts without.
    fn import_state(&mut self, state: Vec<u8>) -> Result<(), String>;
}

/// A plugin that works in the background.
pub trait OnTick: Plugin {
    /// Called at the interval that the configuration names, on an instance that serves no exchange.
    fn on_tick(&mut self);
}

/// A plugin that sees each connection of the listeners that name it.
pub trait OnConnect: Plugin {
    /// Decides whether the connection may be.
    fn on_connect(&mut self, arriving: Connection) -> Admission;
}

/// A plugin that sees each request before a backend is picked.
pub trait OnRequest: Plugin {
    /// Decides whether the exchange goes on.
    fn on_request(&mut self) -> Verdict;
}

/// A plugin that decides which backend gets the request.
pub trait PickBackend: Plugin {
    /// An index below `count`, or none to leave it to the upstream's own policy. [`backends::get`](crate::backends::get) tells
    /// of each backend.
    fn pick_backend(&mut self, count: u32) -> Option<u32>;
}

/// A plugin that hears of each attempt at a backend that has failed.
pub trait OnAttemptFailed: Plugin {
    /// Decides what comes next, if there may be another attempt: `NextAttempt::Pick` is an index below
    /// [`backends::count`](crate::backends::count).
    fn on_attempt_failed(&mut self, failed: Attempt) -> NextAttempt;
}

/// A plugin that sees the whole body of a request, where its [`OnRequest`] said [`Verdict::Hold`].
pub trait OnRequestComplete: Plugin {
    /// Decides whether the exchange goes on. [`request::set_body`](crate::request::set_body) puts another body in its place.
    fn on_request_complete(&mut self, body: Vec<u8>) -> Verdict;
}

/// A plugin that sees each request's body on its way to the backend.
pub trait OnRequestBody: Plugin {
    /// Decides what becomes of a chunk. `last` is true exactly once for each body; only then are there
    /// [`trailers`](crate::trailers).
    fn on_request_body(&mut self, chunk: Vec<u8>, last: bool) -> BodyAction;
}

/// A plugin that sees each response's body on its way to the client.
pub trait OnResponseBody: Plugin {
    /// Decides what becomes of a chunk. `last` is true exactly once for each body; only then are there
    /// [`trailers`](crate::trailers).
    fn on_response_body(&mut self, chunk: Vec<u8>, last: bool) -> BodyAction;
}

/// A plugin that sees each response before any of it is sent.
pub trait OnResponse: Plugin {
    /// Changes the response's head, puts another response in its place, or lets it be.
    fn on_response(&mut self) -> Verdict;
}

/// A plugin that sees how each exchange went.
pub trait OnResponseFinish: Plugin {
    /// Called once for each exchange, when all is over.
    fn on_response_finish(&mut self, summary: Summary);
}

/// The configuration of a plugin that takes none: any key is an error.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Makes a plugin from the JSON of its configuration.
///
/// # Errors
/// A sentence for the operator that begins with the key that it is about.
pub fn configured<P: Plugin>(json: &str) -> Result<P, String> {
    P::new(crate::json::read(json)?)
}

/// Where an instance keeps its plugin. Part of what [`export!`](crate::export) writes.
#[doc(hidden)]
#[derive(Debug)]
pub struct Slot<P>(RefCell<Option<P>>);

impl<P: Plugin> Slot<P> {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "only `export!` makes one, in a constant")]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    pub fn configure(&self, json: &str) -> Result<(), String> {
        crate::panic::tell_the_host();
        self.0.replace(Some(configured(json)?));
        Ok(())
    }

    pub fn with<T>(&self, hook: impl FnOnce(&mut P) -> T) -> T {
        hook(self.0.borrow_mut().as_mut().expect("the host configures an instance before it calls a hook"))
    }
}

/// Whether a name is among others. Part of what [`export!`](crate::export) writes.
#[doc(hidden)]
#[must_use]
pub const fn is_among(name: &str, names: &[&str]) -> bool {
    let mut place = 0;
    while place < names.len() {
        if is_same(name.as_bytes(), names[place].as_bytes()) {
            return true;
        }
        place += 1;
    }
    false
}

/// Constants cannot compare texts otherwise.
const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut place = 0;
    while place < one.len() && place < other.len() && one[place] == other[place] {
        place += 1;
    }
    place == one.len() && place == other.len()
}

/// Puts a JSON Schema for the plugin's configuration into the component, so that `lockgate check` points at what it does not
/// allow, with line and column, before the plugin is even compiled. The path is relative to the file that says this:
/// `lockgate_plugin::config_schema!("../config.schema.json");`
///
/// Where a value breaks a `pattern` or a rule within `then` or `else`, operators are shown the `description` beside that rule.
/// What a schema cannot say is still for [`Plugin::new`] to refuse.
#[macro_export]
macro_rules! config_schema {
    ($path:literal) => {
        // Native linkers want other names for sections, and nobody reads it there.
        #[cfg(target_family = "wasm")]
        #[used]
        #[unsafe(link_section = "lockgate:config-schema")]
        static CONFIG_SCHEMA: [u8; include_bytes!($path).len()] = *include_bytes!($path);

        #[cfg(not(target_family = "wasm"))]
        const _: &[u8] = include_bytes!($path);
    };
}

/// Exports a [`Plugin`] with the hooks that are named, and no other, so that the host never calls in vain:
/// `lockgate_plugin::export!(Teapot: OnRequest);`
///
/// A hook that the plugin implements and that is not named does not compile: nobody would call it.
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($hook:ident),+ $(,)?) => {
        const _: fn() = || {
            $({
                fn implements<P: $crate::$hook>() {}
                implements::<$plugin>();
            })+
        };
        const _: () = {
            const NAMED: &[&str] = &[$(::core::stringify!($hook)),+];
            $crate::export!(@named NAMED $plugin:
                SelfTest, State, OnTick, OnConnect, OnRequest, PickBackend, OnAttemptFailed, OnRequestComplete,
                OnRequestBody, OnResponseBody, OnResponse, OnResponseFinish
            );
        };

        // Native linkers refuse the names of exports; a unit test calls the hooks themselves.
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Exported;

            ::std::thread_local! {
                static PLUGIN: $crate::Slot<$plugin> = const { $crate::Slot::new() };
            }

            impl $crate::bindings::lifecycle::exports::lockgate::plugin::lifecycle::Guest for Exported {
                fn configure(config: ::std::string::String) -> ::core::result::Result<(), ::std::string::String> {
                    PLUGIN.with(|plugin| plugin.configure(&config))
                }
            }
            $crate::bindings::lifecycle::__export_lifecycle!(Exported with_types_in $crate::bindings::lifecycle);

            $($crate::export!(@hook $plugin, $hook);)+
        };
    };
    ($plugin:ty $(:)?) => {
        ::core::compile_error!("the hooks that it has must be named: lockgate_plugin::export!(Teapot: OnRequest)");
    };
    (@named $named:ident $plugin:ty: $($hook:ident),+) => {
        $(const _: () = {
            // What a type has by itself is found before what it has of a trait, so this is true where it has the hook.
            trait Otherwise {
                const HAS_IT: bool = false;
            }
            impl<P> Otherwise for P {}
            struct Of<P>(P);
            impl<P: $crate::$hook> Of<P> {
                const HAS_IT: bool = true;
            }
            ::core::assert!(
                !<Of<$plugin>>::HAS_IT || $crate::is_among(::core::stringify!($hook), $named),
                ::core::concat!(
                    "the plugin implements ",
                    ::core::stringify!($hook),
                    ", and nobody would call it: name it in `export!`, too"
                )
            );
        };)+
    };
    (@hook $plugin:ty, SelfTest) => {
        impl $crate::bindings::self_test_hook::exports::lockgate::plugin::self_test_hook::Guest for Exported {
            fn self_test() -> ::core::result::Result<(), ::std::string::String> {
                PLUGIN.with(|plugin| plugin.with(<$plugin as $crate::SelfTest>::self_test))
            }
        }
        $crate::bindings::self_test_hook::__export_self_test_hook!(
            Exported with_types_in $crate::bindings::self_test_hook
        );
    };
    (@hook $plugin:ty, State) => {
        impl $crate::bindings::state_hook::exports::lockgate::plugin::state_hook::Guest for Exported {
            fn export_state() -> ::std::vec::Vec<u8> {
                PLUGIN.with(|plugin| plugin.with(<$plugin as $crate::State>::export_state))
            }

            fn import_state(
                state: ::std::vec::Vec<u8>,
            ) -> ::core::result::Result<(), ::std::string::String> {
                PLUGIN.with(|plugin| plugin.with(|plugin| <$plugin as $crate::State>::import_state(plugin, state)))
            }
        }
        $crate::bindings::state_hook::__export_state_hook!(Exported with_types_in $crate::bindings::state_hook);
    };
    (@hook $plugin:ty, OnTick) => {
        impl $crate::bindings::tick_hook::exports::lockgate::plugin::tick_hook::Guest for Exported {
            fn on_tick() {
                PLUGIN.with(|plugin| plugin.with(<$plugin as $crate::OnTick>::on_tick))
            }
        }
        $crate::bindings::tick_hook::__export_tick_hook!(Exported with_types_in $crate::bindings::tick_hook);
    };
    (@hook $plugin:ty, OnConnect) => {
        impl $crate::bindings::connect_hook::exports::lockgate::plugin::connect_hook::Guest for Exported {
            fn on_connect(arriving: $crate::Connection) -> $crate::Admission {
                PLUGIN.with(|plugin| plugin.with(|plugin| <$plugin as $crate::OnConnect>::on_connect(plugin, arriving)))
            }
        }
        $crate::bindings::connect_hook::__export_connect_hook!(Exported with_types_in $crate::bindings::connect_hook);
    };
    (@hook $plugin:ty, OnRequest) => {
        impl $crate::bindings::request_hook::exports::lockgate::plugin::request_hook::Guest for Exported {
            fn on_request() -> $crate::Verdict {
                PLUGIN.with(|plugin| plugin.with(<$plugin as $crate::OnRequest>::on_request))
            }
        }
        $crate::bindings::request_hook::__export_request_hook!(Exported with_types_in $crate::bindings::request_hook);
    };
    (@hook $plugin:ty, PickBackend) => {
        impl $crate::bindings::pick_backend_hook::exports::lockgate::plugin::pick_backend_hook::Guest for Exported {
            fn pick_backend(count: u32) -> ::core::option::Option<u32> {
                PLUGIN.with(|plugin| plugin.with(|plugin| <$plugin as $crate::PickBackend>::pick_backend(plugin, count)))
            }
        }
        $crate::bindings::pick_backend_hook::__export_pick_backend_hook!(
            Exported with_types_in $crate::bindings::pick_backend_hook
        );
    };
    (@hook $plugin:ty, OnAttemptFailed) => {
        impl $crate::bindings::attempt_failed_hook::exports::lockgate::plugin::attempt_failed_hook::Guest for Exported {
            fn on_attempt_failed(failed: $crate::Attempt) -> $crate::NextAttempt {
                PLUGIN.with(|plugin| {
                    plugin.with(|plugin| <$plugin as $crate::OnAttemptFailed>::on_attempt_failed(plugin, failed))
                })
            }
        }
        $crate::bindings::attempt_failed_hook::__export_attempt_failed_hook!(
            Exported with_types_in $crate::bindings::attempt_failed_hook
        );
    };
    (@hook $plugin:ty, OnRequestComplete) => {
        impl $crate::bindings::request_complete_hook::exports::lockgate::plugin::request_complete_hook::Guest for Exported {
            fn on_request_complete(body: ::std::vec::Vec<u8>) -> $crate::Verdict {
                PLUGIN.with(|plugin| {
                    plugin.with(|plugin| <$plugin as $crate::OnRequestComplete>::on_request_complete(plugin, body))
                })
            }
        }
        $crate::bindings::request_complete_hook::__export_request_complete_hook!(
            Exported with_types_in $crate::bindings::request_complete_hook
        );
    };
    (@hook $plugin:ty, OnRequestBody) => {
        impl $crate::bindings::request_body_hook::exports::lockgate::plugin::request_body_hook::Guest for Exported {
            fn on_request_body(chunk: ::std::vec::Vec<u8>, last: bool) -> $crate::BodyAction {
                PLUGIN.with(|plugin| {
                    plugin.with(|plugin| <$plugin as $crate::OnRequestBody>::on_request_body(plugin, chunk, last))
                })
            }
        }
        $crate::bindings::request_body_hook::__export_request_body_hook!(
            Exported with_types_in $crate::bindings::request_body_hook
        );
    };
    (@hook $plugin:ty, OnResponseBody) => {
        impl $crate::bindings::response_body_hook::exports::lockgate::plugin::response_body_hook::Guest for Exported {
            fn on_response_body(chunk: ::std::vec::Vec<u8>, last: bool) -> $crate::BodyAction {
                PLUGIN.with(|plugin| {
                    plugin.with(|plugin| <$plugin as $crate::OnResponseBody>::on_response_body(plugin, chunk, last))
                })
            }
        }
        $crate::bindings::response_body_hook::__export_response_body_hook!(
            Exported with_types_in $crate::bindings::response_body_hook
        );
    };
    (@hook $plugin:ty, OnResponse) => {
        impl $crate::bindings::response_hook::exports::lockgate::plugin::response_hook::Guest for Exported {
            fn on_response() -> $crate::Verdict {
                PLUGIN.with(|plugin| plugin.with(<$plugin as $crate::OnResponse>::on_response))
            }
        }
        $crate::bindings::response_hook::__export_response_hook!(Exported with_types_in $crate::bindings::response_hook);
    };
    (@hook $plugin:ty, OnResponseFinish) => {
        impl $crate::bindings::response_finish_hook::exports::lockgate::plugin::response_finish_hook::Guest for Exported {
            fn on_response_finish(summary: $crate::Summary) {
                PLUGIN.with(|plugin| plugin.with(|plugin| <$plugin as $crate::OnResponseFinish>::on_response_finish(plugin, summary)))
            }
        }
        $crate::bindings::response_finish_hook::__export_response_finish_hook!(
            Exported with_types_in $crate::bindings::response_finish_hook
        );
    };
    // There is no such trait, which the compiler says better, with the name that was meant.
    (@hook $plugin:ty, $other:ident) => {};
}
