//! What stands between a body and where it goes, when something changes it on the way.

use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use super::BodyError;
use crate::reason::Reason;

/// A body as it comes.
pub trait Frames {
    /// Its next frame.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>>;

    /// Whether it is known that nothing more will come.
    fn is_over(&self) -> bool;
}

/// Changes a body on its way.
pub trait Change: fmt::Debug {
    /// The next frame of the changed body, made of what `body` has.
    fn poll_changed(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut dyn Frames,
    ) -> Poll<Option<Result<Frame<Bytes>, Spoilt>>>;

    /// Whether it is known that nothing more will come.
    fn is_over(&self) -> bool;
}

/// Why a changed body breaks off.
#[derive(Debug)]
pub enum Spoilt {
    /// Because the body itself does.
    Body(BodyError),
    /// Because of what changes it.
    Change(Reason),
}
