//! A body on its way through the plugins that have a hook for it. What a plugin makes of a piece goes to the next plugin
//! before anything else is read, so that no more is held than one piece for each of them.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{self, HeaderValue};
use http_body::Frame;
use smallvec::SmallVec;

use super::lodge::Lodge;
use crate::message::{Change, Frames, Spoilt, passable};
use crate::plugin::{BodyAction, Chunk, Failure, Run, Side};
use crate::reason::Reason;

/// A body on its way through the plugins.
pub(super) struct Transform {
    lodge: Rc<Lodge>,
    side: Side,
    stages: SmallVec<[Stage; 2]>,
    /// What is on its way between them. The last one goes first.
    pieces: SmallVec<[Piece; 4]>,
    /// A call that has to wait.
    call: Option<Call>,
    /// What comes behind the last byte, once that is known.
    trailers: Option<HeaderMap>,
    taken: Taken,
}

/// A plugin on the way.
#[derive(Debug)]
struct Stage {
    /// Its place in the chain.
    place: usize,
    /// It has made something else of a part of the body.
    changed: bool,
    /// It has failed, and the rest goes past it.
    left: bool,
}

/// A part of the body before a stage.
#[derive(Debug)]
struct Piece {
    stage: usize,
    bytes: Bytes,
    /// Nothing comes behind it.
    last: bool,
}

/// How far the body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// More is to be read.
    Some,
    /// All has been read.
    All,
    /// All has gone on, too.
    Passed,
}

/// The chunk, and what became of it; none if the exchange is over.
type Answered = Option<(Chunk, Result<BodyAction, Option<Failure>>)>;

struct Call {
    stage: usize,
    answer: Pin<Box<dyn Future<Output = Answered>>>,
}

impl Transform {
    /// The way through the plugins of `run` that want that body; none if there are none.
    pub(super) fn new(side: Side, run: &Run, lodge: &Rc<Lodge>) -> Option<Self> {
        let stage = |place| Stage { place, changed: false, left: false };
        let stages: SmallVec<[Stage; 2]> = run.body_places(side).into_iter().map(stage).collect();
        (!stages.is_empty()).then(|| Self {
            lodge: Rc::clone(lodge),
            side,
            stages,
            pieces: SmallVec::new(),
            call: None,
            trailers: None,
            taken: Taken::Some,
        })
    }

    /// Reads on: what came goes to the first plugin.
    fn take(&mut self, frame: Option<Frame<Bytes>>, over: bool) {
        let (bytes, last) = match frame.map(Frame::into_data) {
            Some(Ok(bytes)) => (bytes, over),
            Some(Err(frame)) => {
                self.trailers = frame.into_trailers().ok();
                (Bytes::new(), true)
            }
            None => (Bytes::new(), true),
        };
        if last {
            self.taken = Taken::All;
        }
        self.pieces.push(Piece { stage: 0, bytes, last });
    }

    /// What has come past all plugins, to go on.
    fn pass(&mut self, piece: Piece) -> Option<Frame<Bytes>> {
        if piece.last {
            self.taken = Taken::Passed;
            self.trailers = self.trailers.take().map(passable).filter(|trailers| !trailers.is_empty());
        }
        if !piece.bytes.is_empty() {
            return Some(Frame::data(piece.bytes));
        }
        if piece.last { self.trailers.take().map(Frame::trailers) } else { None }
    }

    /// Shows a piece to the plugin before which it is.
    fn show(&mut self, mut piece: Piece) -> Result<(), Reason> {
        if piece.bytes.len() > PIECE {
            let rest = piece.bytes.split_off(PIECE);
            self.pieces.push(Piece { stage: piece.stage, bytes: rest, last: piece.last });
            piece.last = false;
        }
        if piece.bytes.is_empty() && !piece.last {
            return Ok(());
        }
        let Stage { place, left, .. } = self.stages[piece.stage];
        if left {
            self.pieces.push(Piece { stage: piece.stage + 1, ..piece });
            return Ok(());
        }
        let last = piece.last.then(|| self.trailers.take().unwrap_or_default());
        let mut chunk = Chunk { side: self.side, place, bytes: piece.bytes, last };
        if let Some(mut lent) = self.lodge.lend_now()
            && let Some(called) = lent.run().on_body_now(&mut chunk)
        {
            drop(lent);
            return self.heed(piece.stage, chunk, called);
        }
        let lodge = Rc::clone(&self.lodge);
        let answer = Box::pin(async move {
            let mut lent = lodge.lend().await?;
            let called = lent.run().on_body(&mut chunk).await;
            Some((chunk, called))
        });
        self.call = Some(Call { stage: piece.stage, answer });
        Ok(())
    }

    /// Does as the plugin said.
    fn heed(&mut self, stage: usize, chunk: Chunk, answer: Result<BodyAction, Option<Failure>>) -> Result<(), Reason> {
        let last = chunk.last.is_some();
        if last {
            self.trailers = chunk.last;
        }
        let this = &mut self.stages[stage];
        let bytes = match answer {
            Ok(BodyAction::Pass) => chunk.bytes,
            Ok(BodyAction::Replace(bytes)) => {
                this.changed = true;
                bytes
            }
            Ok(BodyAction::Abort) => return Err(Reason::PluginAborted),
            Err(Some(failure)) => return Err(failure.reason),
            // Half a changed body must not look like a whole one.
            Err(None) if this.changed => return Err(Reason::PluginFailed),
            Err(None) => {
                this.left = true;
                chunk.bytes
            }
        };
        self.pieces.push(Piece { stage: stage + 1, bytes, last });
        Ok(())
    }
}

impl Change for Transform {
    fn poll_changed(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut dyn Frames,
    ) -> Poll<Option<Result<Frame<Bytes>, Spoilt>>> {
        loop {
            let done = if let Some(call) = &mut self.call {
                let answered = ready!(call.answer.as_mut().poll(cx));
                let stage = call.stage;
                self.call = None;
                match answered {
                    Some((chunk, answer)) => self.heed(stage, chunk, answer),
                    None => Err(Reason::ClientGone),
                }
            } else if let Some(piece) = self.pieces.pop() {
                if piece.stage < self.stages.len() {
                    self.show(piece)
                } else if let Some(frame) = self.pass(piece) {
                    return Poll::Ready(Some(Ok(frame)));
                } else {
                    Ok(())
                }
            } else if self.taken == Taken::Passed {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            } else {
                match ready!(body.poll_next(cx)).transpose() {
                    Err(error) => return Poll::Ready(Some(Err(Spoilt::Body(error)))),
                    Ok(frame) => {
                        self.take(frame, body.is_over());
                        Ok(())
                    }
                }
            };
            if let Err(reason) = done {
                return Poll::Ready(Some(Err(Spoilt::Change(reason))));
            }
        }
    }

    fn is_over(&self) -> bool {
        self.taken == Taken::Passed && self.trailers.is_none()
    }
}

impl std::fmt::Debug for Transform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transform").field("side", &self.side).field("stages", &self.stages).finish_non_exhaustive()
    }
}

/// The head of a response whose body plugins may change: what it says of the body's bytes holds no longer.
pub(super) fn loosen(headers: &mut HeaderMap) {
    for name in OF_THE_BYTES {
        headers.remove(name);
    }
    // RFC 9110 §8.8.1: a strong validator stands for the bytes.
    if let Some(tag) = headers.get(header::ETAG)
        && !tag.as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(header::ETAG, weak);
    }
}

/// A request for a part of something that plugins see as a whole becomes one for the whole.
pub(super) fn ask_for_the_whole(headers: &mut HeaderMap) {
    headers.remove(header::RANGE);
    headers.remove(header::IF_RANGE);
}

const OF_THE_BYTES: [&str; 5] = ["content-length", "accept-ranges", "content-md5", "content-digest", "repr-digest"];

/// Bytes that a plugin is shown at a time.
const PIECE: usize = 64 << 10;
