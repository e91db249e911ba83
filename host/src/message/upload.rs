//! A request's body on its way to a backend: counted, limited, and kept if it is small, so that it can be sent again.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{BodyError, Change, EditError, Frames, Incoming, Spoilt};
use crate::clock::Deadline;
use crate::reason::Reason;

/// A request's body and how far it has come. Outlives the attempts to send it.
#[derive(Debug, Clone)]
pub struct Upload(Rc<RefCell<State>>);

/// What is handed to a connection for one attempt.
#[derive(Debug, Default)]
pub struct UploadBody {
    /// None for a request without a body.
    upload: Option<Upload>,
    /// Chunks of `kept` that this attempt has sent already.
    replayed: usize,
}

#[derive(Debug)]
struct State {
    incoming: Incoming,
    /// What the client announced, for the size hint.
    length: Option<u64>,
    limit: u64,
    read: u64,
    moved: Instant,
    ended: bool,
    /// Everything read so far, unless it was too much.
    kept: Option<Vec<Bytes>>,
    trailers: Option<HeaderMap>,
    kept_bytes: usize,
    /// The last poll found nothing to read: the client is slow, not the backend.
    starving: bool,
    failed: Option<Reason>,
    /// What changes it on its way. All that is kept has been changed.
    change: Option<Box<dyn Change>>,
    /// All of it, once it has been held, or what takes its place.
    whole: Option<Bytes>,
}

impl Upload {
    /// `limit` is the most that may be read; `keep` says whether it may be wanted a second time.
    #[must_use]
    pub fn new(incoming: Incoming, limit: u64, keep: bool) -> Self {
        let length = incoming.length();
        Self(Rc::new(RefCell::new(State {
            incoming,
            length,
            limit,
            read: 0,
            moved: Instant::now(),
            ended: false,
            kept: keep.then(Vec::new),
            trailers: None,
            kept_bytes: 0,
            starving: false,
            failed: None,
            change: None,
            whole: None,
        })))
    }

    /// Reads all of it, to be sent later, if that is not more than `most`. The client may
    /// be still for as long as `idle`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub async fn hold(&self, most: u64, deadline: &Deadline, idle: Duration) -> Result<Bytes, Reason> {
        let mut whole = BytesMut::new();
        loop {
            deadline.set(idle);
            let next = poll_fn(|cx| self.0.borrow_mut().poll_next(cx));
            let next = deadline.limit(next).await.map_err(|_| Reason::RequestTimeout)?;
            match next.map(|frame| frame.map(Frame::into_data)) {
                None => break,
                Some(Ok(Ok(chunk))) if (whole.len() + chunk.len()) as u64 > most => return Err(Reason::BodyTooLarge),
                Some(Ok(Ok(chunk))) => whole.extend_from_slice(&chunk),
                Some(Ok(Err(frame))) => self.0.borrow_mut().trailers = frame.into_trailers().ok(),
                Some(Err(_)) => return Err(self.failed().unwrap_or(Reason::ClientGone)),
            }
        }
        let whole = whole.freeze();
        self.refill(whole.clone());
        Ok(whole)
    }

    /// Puts `whole` in the place of all of it.
    pub fn refill(&self, whole: Bytes) {
        let mut state = self.0.borrow_mut();
        state.length = Some(whole.len() as u64);
        state.whole = Some(whole);
    }

    /// What the client announced that it would send.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.0.borrow().length
    }

    /// Whether all of it has come, sent on or not.
    #[must_use]
    pub fn received(&self) -> bool {
        let state = self.0.borrow();
        state.ended || state.incoming.is_end_stream()
    }

    /// Throws away the rest of it, if nobody wants it any more, and it has come and is no more than `most` bytes. Says
    /// whether it was.
    pub fn discard(&self, most: usize) -> bool {
        // While an attempt still sends it, a piece that is missing would leave a hole.
        let unwanted = Rc::strong_count(&self.0) == 1;
        let mut state = self.0.borrow_mut();
        unwanted && state.failed.is_none() && state.incoming.discard(most)
    }

    /// Has `change` change it on its way, so that nobody knows any more how long it will be. To be called before any of it
    /// has been read.
    pub fn changed_by(&self, change: Box<dyn Change>) {
        let mut state = self.0.borrow_mut();
        state.length = None;
        state.change = Some(change);
    }

    /// Bytes read from the client so far.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.borrow().read
    }

    /// When the client sent something last.
    #[must_use]
    pub fn moved(&self) -> Instant {
        self.0.borrow().moved
    }

    /// Whether the client has sent all of it.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.0.borrow().ended
    }

    /// Whether it waits for the client, and not for the backend.
    #[must_use]
    pub fn starving(&self) -> bool {
        let state = self.0.borrow();
        state.starving && !state.ended
    }

    /// Why it broke off, if that was the client's doing.
    #[must_use]
    pub fn failed(&self) -> Option<Reason> {
        self.0.borrow().failed
    }

    /// Whether it can be sent from its beginning: nothing has been read, or all that has been read was kept.
    #[must_use]
    pub fn replayable(&self) -> bool {
        let state = self.0.borrow();
        state.failed.is_none() && (state.read == 0 && !state.ended || state.kept.is_some())
    }

    /// The body for one attempt, from the beginning.
    #[must_use]
    pub fn body(&self) -> UploadBody {
        UploadBody { upload: Some(self.clone()), replayed: 0 }
    }
}

impl UploadBody {
    /// Whether the request has no body.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.upload.is_none()
    }

    /// The same body from its beginning, if that is still to be had.
    #[must_use]
    pub fn again(self) -> Option<Self> {
        match self.upload {
            Some(upload) => upload.replayable().then(|| upload.body()),
            None => Some(Self::default()),
        }
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(upload) = &this.upload else { return Poll::Ready(None) };
        let mut state = upload.0.borrow_mut();
        if let Some(chunk) = state.kept.as_ref().and_then(|kept| kept.get(this.replayed)) {
            this.replayed += 1;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        if state.ended {
            return Poll::Ready(state.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(state.poll_client(cx));
        if state.kept.is_some() {
            this.replayed += 1;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.upload.as_ref().is_none_or(|upload| {
            let state = upload.0.borrow();
            state.ended
                && state.trailers.is_none()
                && state.kept.as_ref().is_none_or(|kept| kept.len() <= self.replayed)
        })
    }

    fn size_hint(&self) -> SizeHint {
        match self.upload.as_ref().map(|upload| upload.0.borrow().length) {
            None => SizeHint::with_exact(0),
            Some(Some(length)) if self.replayed == 0 => SizeHint::with_exact(length),
            Some(_) => SizeHint::default(),
        }
    }
}

impl State {
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self.change.take() {
            None => {
                let frame = ready!(self.poll_next(cx));
                self.ended = matches!(frame, None | Some(Ok(_))) && self.is_over();
                frame
            }
            Some(mut change) => {
                let frame = change.poll_changed(cx, self);
                let over = change.is_over();
                self.change = Some(change);
                let frame = ready!(frame);
                self.ended = matches!(frame, None | Some(Ok(_))) && over;
                frame.map(|frame| {
                    frame.map_err(|spoilt| match spoilt {
                        Spoilt::Body(error) => error,
                        Spoilt::Change(reason) => {
                            self.fail(reason);
                            "a plugin ended the exchange".into()
                        }
                    })
                })
            }
        };
        match &frame {
            None => self.ended = true,
            Some(Ok(frame)) => match frame.data_ref() {
                Some(chunk) => self.keep(chunk),
                // Sent now; a second attempt does without them.
                None => self.ended = true,
            },
            Some(Err(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn keep(&mut self, chunk: &Bytes) {
        self.kept_bytes += chunk.len();
        if self.kept_bytes > KEPT {
            self.kept = None;
        } else if let Some(kept) = &mut self.kept {
            kept.push(chunk.clone());
        }
    }

    fn fail(&mut self, reason: Reason) {
        self.failed = Some(reason);
        self.kept = None;
    }
}

/// The body as the client sends it, counted and limited.
impl Frames for State {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(whole) = self.whole.take() {
            return Poll::Ready((!whole.is_empty()).then(|| Ok(Frame::data(whole))));
        }
        self.starving = true;
        let frame = ready!(self.incoming.poll_frame(cx));
        self.starving = false;
        self.moved = Instant::now();
        let frame = match frame {
            None => return Poll::Ready(None),
            Some(Err((reason, error))) => {
                self.fail(reason);
                return Poll::Ready(Some(Err(error)));
            }
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(chunk) => {
                self.read += chunk.len() as u64;
                if self.read > self.limit {
                    self.fail(Reason::BodyTooLarge);
                    return Poll::Ready(Some(Err("the body is longer than the route allows".into())));
                }
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Err(frame) => {
                let trailers = frame.into_trailers().ok().map(passable);
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_over(&self) -> bool {
        self.whole.is_none() && self.incoming.is_end_stream()
    }
}

/// Trailers without what frames, routes or authorizes (RFC 9110 §6.5.1).
#[must_use]
pub fn passable(mut trailers: HeaderMap) -> HeaderMap {
    let forbidden: smallvec::SmallVec<[http::HeaderName; 4]> = trailers
        .keys()
        .filter(|name| super::editable_name(name.as_str()).is_err() || is_claim(name.as_str()))
        .cloned()
        .collect();
    for name in forbidden {
        trailers.remove(name);
    }
    trailers
}

/// The gate for the name of a trailer that a plugin wants to change.
///
/// # Errors
/// When it is no token, or would not be passed on.
pub fn editable_trailer(name: &str) -> Result<http::HeaderName, EditError> {
    let name = super::editable_name(name)?;
    if is_claim(name.as_str()) { Err(EditError::Forbidden) } else { Ok(name) }
}

fn is_claim(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "authorization" | "cookie" | "set-cookie" | "forwarded" | "x-real-ip" | "content-type" | "content-encoding"
        )
}

/// Bytes of a body that are kept for a second attempt (P4 in the documentation of retries).
const KEPT: usize = 64 * 1024;
