//! The hooks of an exchange: what each is given and gives, and where an instance has it.

use wasmtime::component::{ComponentNamedList, Func, Instance as WasmInstance, Lift, Lower, TypedFunc};
use wasmtime::{AsContextMut, Store};

use super::component::Hooks;
use super::direct::DirectHook;
use super::host::Host;
use super::stats::Hook;
use super::wit::{WitAttempt, WitBodyAction, WitNextAttempt, WitSummary, WitVerdict};
use crate::exchange::{KnownMethod, Summary};

/// A hook of an exchange, with what it is given and what it gives.
pub(super) trait ExchangeHook: DirectHook<Return: ComponentNamedList + Lift + 'static> {
    const HOOK: Hook;
    type Params: ComponentNamedList + Lower;
    fn params(self) -> Self::Params;
    fn component_function(functions: &Functions, store: &Store<Host>) -> Option<TypedFunc<Self::Params, Self::Return>>;
}

/// `on-request`
#[derive(Debug, Clone, Copy)]
pub(super) struct OnRequest;

/// `on-request-complete`: the whole body.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnRequestComplete<'a>(pub(super) &'a [u8]);

/// `on-request-body`: a chunk, and whether it is the last.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnRequestBody<'a>(pub(super) &'a [u8], pub(super) bool);

/// `pick-backend`: how many there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct PickBackend(pub(super) u32);

/// `on-attempt-failed`
#[derive(Debug)]
pub(super) struct OnAttemptFailed(pub(super) WitAttempt);

/// `on-response`
#[derive(Debug, Clone, Copy)]
pub(super) struct OnResponse;

/// `on-response-body`: a chunk, and whether it is the last.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnResponseBody<'a>(pub(super) &'a [u8], pub(super) bool);

/// `on-response-finish`: how the exchange went, and what it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnResponseFinish {
    pub(super) summary: Summary,
    pub(super) method: KnownMethod,
    /// The number of the route's name.
    pub(super) route: u32,
}

/// The hooks that an instance has.
#[derive(Clone, Copy, Default)]
pub(super) struct Functions {
    on_request: Option<TypedFunc<(), (WitVerdict,)>>,
    on_request_complete: Option<Func>,
    on_request_body: Option<Func>,
    pick_backend: Option<TypedFunc<(u32,), (Option<u32>,)>>,
    on_attempt_failed: Option<TypedFunc<(WitAttempt,), (WitNextAttempt,)>>,
    on_response: Option<TypedFunc<(), (WitVerdict,)>>,
    on_response_body: Option<Func>,
    on_response_finish: Option<TypedFunc<(WitSummary,), ()>>,
}

impl Functions {
    /// Finds the hooks, and checks that their types are the contract's.
    pub(super) fn find(store: &mut Store<Host>, hooks: &Hooks, made: &WasmInstance) -> wasmtime::Result<Self> {
        Ok(Self {
            on_request: typed(store, hooks, made, Hook::OnRequest)?,
            on_request_complete: typed::<(&[u8],), (WitVerdict,)>(store, hooks, made, Hook::OnRequestComplete)?
                .map(|function| *function.func()),
            on_request_body: body(store, hooks, made, Hook::OnRequestBody)?,
            pick_backend: typed(store, hooks, made, Hook::PickBackend)?,
            on_attempt_failed: typed(store, hooks, made, Hook::OnAttemptFailed)?,
            on_response: typed(store, hooks, made, Hook::OnResponse)?,
            on_response_body: body(store, hooks, made, Hook::OnResponseBody)?,
            on_response_finish: typed(store, hooks, made, Hook::OnResponseFinish)?,
        })
    }
}

/// A function that the component may export, if its type is the one that the contract gives it.
pub(super) fn typed<P, R>(
    store: &mut Store<Host>,
    hooks: &Hooks,
    made: &WasmInstance,
    hook: Hook,
) -> wasmtime::Result<Option<TypedFunc<P, R>>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let Some(index) = hooks.index(hook) else { return Ok(None) };
    let typed = made.get_typed_func(store.as_context_mut(), index);
    typed.map(Some).map_err(|error| error.context(format!("`{}` has another type than the contract's", hook.name())))
}

type Chunk<'a> = (&'a [u8], bool);

/// A hook for bodies. It is lent a chunk for the time of a call, so how long that lives is not known before.
fn body(store: &mut Store<Host>, hooks: &Hooks, made: &WasmInstance, hook: Hook) -> wasmtime::Result<Option<Func>> {
    Ok(typed::<Chunk<'_>, (WitBodyAction,)>(store, hooks, made, hook)?.map(|function| *function.func()))
}

fn with_chunk<'a>(function: Option<Func>, store: &Store<Host>) -> Option<TypedFunc<Chunk<'a>, (WitBodyAction,)>> {
    // The type was checked when the instance was made.
    function?.typed(store).ok()
}

impl ExchangeHook for OnRequest {
    const HOOK: Hook = Hook::OnRequest;
    type Params = ();

    fn params(self) {}

    fn component_function(functions: &Functions, _: &Store<Host>) -> Option<TypedFunc<(), (WitVerdict,)>> {
        functions.on_request
    }
}

impl<'a> ExchangeHook for OnRequestComplete<'a> {
    const HOOK: Hook = Hook::OnRequestComplete;
    type Params = (&'a [u8],);

    fn params(self) -> (&'a [u8],) {
        (self.0,)
    }

    fn component_function(functions: &Functions, store: &Store<Host>) -> Option<TypedFunc<(&'a [u8],), (WitVerdict,)>> {
        // The type was checked when the instance was made.
        functions.on_request_complete?.typed(store).ok()
    }
}

impl<'a> ExchangeHook for OnRequestBody<'a> {
    const HOOK: Hook = Hook::OnRequestBody;
    type Params = Chunk<'a>;

    fn params(self) -> Chunk<'a> {
        (self.0, self.1)
    }

    fn component_function(
        functions: &Functions,
        store: &Store<Host>,
    ) -> Option<TypedFunc<Chunk<'a>, (WitBodyAction,)>> {
        with_chunk(functions.on_request_body, store)
    }
}

impl ExchangeHook for PickBackend {
    const HOOK: Hook = Hook::PickBackend;
    type Params = (u32,);

    fn params(self) -> (u32,) {
        (self.0,)
    }

    fn component_function(functions: &Functions, _: &Store<Host>) -> Option<TypedFunc<(u32,), (Option<u32>,)>> {
        functions.pick_backend
    }
}

impl ExchangeHook for OnAttemptFailed {
    const HOOK: Hook = Hook::OnAttemptFailed;
    type Params = (WitAttempt,);

    fn params(self) -> (WitAttempt,) {
        (self.0,)
    }

    fn component_function(
        functions: &Functions,
        _: &Store<Host>,
    ) -> Option<TypedFunc<(WitAttempt,), (WitNextAttempt,)>> {
        functions.on_attempt_failed
    }
}

impl ExchangeHook for OnResponse {
    const HOOK: Hook = Hook::OnResponse;
    type Params = ();

    fn params(self) {}

    fn component_function(functions: &Functions, _: &Store<Host>) -> Option<TypedFunc<(), (WitVerdict,)>> {
        functions.on_response
    }
}

impl<'a> ExchangeHook for OnResponseBody<'a> {
    const HOOK: Hook = Hook::OnResponseBody;
    type Params = Chunk<'a>;

    fn params(self) -> Chunk<'a> {
        (self.0, self.1)
    }

    fn component_function(
        functions: &Functions,
        store: &Store<Host>,
    ) -> Option<TypedFunc<Chunk<'a>, (WitBodyAction,)>> {
        with_chunk(functions.on_response_body, store)
    }
}

impl ExchangeHook for OnResponseFinish {
    const HOOK: Hook = Hook::OnResponseFinish;
    type Params = (WitSummary,);

    fn params(self) -> (WitSummary,) {
        (self.into(),)
    }

    fn component_function(functions: &Functions, _: &Store<Host>) -> Option<TypedFunc<(WitSummary,), ()>> {
        functions.on_response_finish
    }
}
