//! The hooks of an exchange, as core functions.

use wasmtime::TypedFunc;

use super::super::hooks::{
    OnAttemptFailed, OnRequest, OnRequestBody, OnRequestComplete, OnResponse, OnResponseBody, OnResponseFinish,
    PickBackend,
};
use super::super::wit::{WitBodyAction, WitNextAttempt, WitSummary, WitVerdict};
use super::functions::{Answer, DirectHook, FlatChunk, FlatSummary, Functions};

impl DirectHook for OnRequest {
    type Flat = ();
    type Return = (WitVerdict,);

    fn flat(&self, _: u32, _: u32) {}

    fn function(functions: &Functions) -> Option<&TypedFunc<(), ()>> {
        functions.on_request.as_ref()
    }

    fn answer(answer: Option<Answer>) -> Option<(WitVerdict,)> {
        verdict(answer)
    }
}

impl DirectHook for OnRequestComplete<'_> {
    type Flat = (u32, u32);
    type Return = (WitVerdict,);

    fn bytes(&self) -> Option<&[u8]> {
        Some(self.0)
    }

    fn flat(&self, at: u32, length: u32) -> (u32, u32) {
        (at, length)
    }

    fn function(functions: &Functions) -> Option<&TypedFunc<(u32, u32), ()>> {
        functions.on_request_complete.as_ref()
    }

    fn answer(answer: Option<Answer>) -> Option<(WitVerdict,)> {
        verdict(answer)
    }
}

impl DirectHook for OnRequestBody<'_> {
    type Flat = FlatChunk;
    type Return = (WitBodyAction,);

    fn bytes(&self) -> Option<&[u8]> {
        Some(self.0)
    }

    fn flat(&self, at: u32, length: u32) -> FlatChunk {
        (at, length, self.1.into())
    }

    fn function(functions: &Functions) -> Option<&TypedFunc<FlatChunk, ()>> {
        functions.on_request_body.as_ref()
    }

    fn answer(answer: Option<Answer>) -> Option<(WitBodyAction,)> {
        action(answer)
    }
}

impl DirectHook for PickBackend {
    type Flat = u32;
    type Return = (Option<u32>,);

    fn flat(&self, _: u32, _: u32) -> u32 {
        self.0
    }

    fn function(functions: &Functions) -> Option<&TypedFunc<u32, ()>> {
        functions.pick_backend.as_ref()
    }

    fn answer(answer: Option<Answer>) -> Option<(Option<u32>,)> {
        if let Some(Answer::Picked(picked)) = answer { Some((picked,)) } else { None }
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

    fn answer(_: Option<Answer>) -> Option<(WitNextAttempt,)> {
        None
    }
}

impl DirectHook for OnResponse {
    type Flat = ();
    type Return = (WitVerdict,);

    fn flat(&self, _: u32, _: u32) {}

    fn function(functions: &Functions) -> Option<&TypedFunc<(), ()>> {
        functions.on_response.as_ref()
    }

    fn answer(answer: Option<Answer>) -> Option<(WitVerdict,)> {
        verdict(answer)
    }
}

impl DirectHook for OnResponseBody<'_> {
    type Flat = FlatChunk;
    type Return = (WitBodyAction,);

    fn bytes(&self) -> Option<&[u8]> {
        Some(self.0)
    }

    fn flat(&self, at: u32, length: u32) -> FlatChunk {
        (at, length, self.1.into())
    }

    fn function(functions: &Functions) -> Option<&TypedFunc<FlatChunk, ()>> {
        functions.on_response_body.as_ref()
    }

    fn answer(answer: Option<Answer>) -> Option<(WitBodyAction,)> {
        action(answer)
    }
}

impl DirectHook for OnResponseFinish {
    type Flat = FlatSummary;
    type Return = ();

    fn flat(&self, _: u32, _: u32) -> FlatSummary {
        WitSummary::from(*self).flat()
    }

    fn function(functions: &Functions) -> Option<&TypedFunc<FlatSummary, ()>> {
        functions.on_response_finish.as_ref()
    }

    fn answer(_: Option<Answer>) -> Option<()> {
        Some(())
    }
}

#[inline]
fn verdict(answer: Option<Answer>) -> Option<(WitVerdict,)> {
    if let Some(Answer::Verdict(verdict)) = answer { Some((verdict,)) } else { None }
}

fn action(answer: Option<Answer>) -> Option<(WitBodyAction,)> {
    if let Some(Answer::Action(action)) = answer { Some((action,)) } else { None }
}
