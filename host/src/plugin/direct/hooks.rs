//! The hooks of an exchange, as core functions.

use wasmtime::TypedFunc;

use super::super::hooks::{
    OnAttemptFailed, OnRequest, OnRequestBody, OnRequestComplete, OnResponse, OnResponseBody, OnResponseFinish,
    PickBackend,
};
use super::super::wit::{WitBodyAction, WitNextAttempt, WitSummary, WitVerdict};
use super::functions::{Answered, DirectHook, FlatChunk, FlatSummary, Functions};

/// For each hook that answers: its function and what that is given, the answer, how parameters are made where bytes stand at a
/// place with a length, and which of its fields those bytes are.
macro_rules! answering {
    ($($hook:ty: $function:ident($flat:ty) -> $case:ident($answer:ty),
       |$own:pat_param, $at:pat_param, $length:pat_param| $params:expr $(, bytes in $bytes:tt)?;)*) => {$(
        impl DirectHook for $hook {
            type Flat = $flat;
            type Return = ($answer,);

            $(#[inline]
            fn bytes(&self) -> Option<&[u8]> {
                Some(self.$bytes)
            })?

            #[inline]
            fn flat(&self, $at: u32, $length: u32) -> $flat {
                let $own = self;
                $params
            }

            #[inline]
            fn function(functions: &Functions) -> Option<&TypedFunc<$flat, ()>> {
                functions.$function.as_ref()
            }

            #[inline]
            fn answer(answer: Option<Answered>) -> Option<($answer,)> {
                if let Some(Answered::$case(answer)) = answer { Some((answer,)) } else { None }
            }
        }
    )*};
}

answering! {
    OnRequest: on_request(()) -> Verdict(WitVerdict), |_, _, _| ();
    OnRequestComplete<'_>: on_request_complete((u32, u32)) -> Verdict(WitVerdict), |_, at, length| (at, length), bytes in 0;
    OnRequestBody<'_>: on_request_body(FlatChunk) -> Action(WitBodyAction),
        |own, at, length| (at, length, own.1.into()), bytes in 0;
    PickBackend: pick_backend(u32) -> Picked(Option<u32>), |own, _, _| own.0;
    OnResponse: on_response(()) -> Verdict(WitVerdict), |_, _, _| ();
    OnResponseBody<'_>: on_response_body(FlatChunk) -> Action(WitBodyAction),
        |own, at, length| (at, length, own.1.into()), bytes in 0;
}

impl DirectHook for OnResponseFinish {
    type Flat = FlatSummary;
    type Return = ();

    #[inline]
    fn flat(&self, _: u32, _: u32) -> FlatSummary {
        WitSummary::from(*self).flat()
    }

    #[inline]
    fn function(functions: &Functions) -> Option<&TypedFunc<FlatSummary, ()>> {
        functions.on_response_finish.as_ref()
    }

    fn answer(_: Option<Answered>) -> Option<()> {
        Some(())
    }
}

/// No plugin that has it is called directly.
impl DirectHook for OnAttemptFailed {
    type Flat = ();
    type Return = (WitNextAttempt,);

    fn flat(&self, _: u32, _: u32) {}

    fn function(_: &Functions) -> Option<&TypedFunc<(), ()>> {
        None
    }

    fn answer(_: Option<Answered>) -> Option<(WitNextAttempt,)> {
        None
    }
}
