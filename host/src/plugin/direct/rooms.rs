//! Room in a guest's memory for what an import answers: first all of it is wanted, then the answer is put there.

use wasmtime::AsContextMut;

use super::super::host::Misuse;
use super::load::aligned;
use super::store::GuestMemory;
use super::{Host, Put};

/// What the import that is being called wants, and what it was given. Between two calls it is empty.
#[derive(Default)]
pub(in super::super) struct Rooms {
    /// Alignment and size of each, in the order in which they are fetched.
    wanted: Vec<(u32, u32)>,
    given: Vec<u32>,
    taken: usize,
    /// The answer, and where it goes.
    answer: Option<(Box<dyn Later>, u32)>,
}

impl Rooms {
    /// Wants room for so many bytes. The guest is asked for none, too: it says where nothing is.
    #[inline]
    pub(super) fn want(&mut self, align: u32, size: u32) {
        self.wanted.push((align, size));
    }

    /// The room that is to be fetched next, as the bridge has it: its alignment, its size and that there is some. 0 when there
    /// is all.
    fn next(&self) -> u64 {
        let wanted = self.wanted.get(self.given.len());
        wanted.map_or(0, |(align, size)| SOME | u64::from(*align) << 32 | u64::from(*size))
    }

    /// The next of those that were given, in the order in which they were wanted.
    #[inline]
    pub(super) fn take(&mut self) -> Result<u32, Misuse> {
        let place = self.given.get(self.taken).copied();
        self.taken += 1;
        place.ok_or_else(|| Misuse::Bound("an answer needs more room than it has asked for".into()))
    }

    fn clear(&mut self) {
        self.wanted.clear();
        self.given.clear();
        self.taken = 0;
    }
}

const SOME: u64 = 1 << 63;

/// An answer that waits for its room.
trait Later: Send + Sync {
    fn put(self: Box<Self>, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()>;
}

impl<T: Put> Later for T {
    fn put(self: Box<Self>, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        Put::put(*self, guest, at)
    }
}

/// Puts an answer there, or says what room it wants first. Until it has that, the guest runs only to make room.
#[inline]
pub(super) fn put_or_want<T: Put>(answer: T, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<u64> {
    let rooms = &mut guest.host.rooms;
    rooms.clear();
    answer.rooms(rooms)?;
    let wanted = rooms.next();
    if wanted == 0 {
        answer.put(guest, at)?;
    } else {
        rooms.answer = Some((Box::new(answer), at));
        guest.host.secluded = true;
    }
    Ok(wanted)
}

/// The guest has made room there.
pub(super) fn given(mut cx: impl AsContextMut<Data = Host>, place: u32) -> wasmtime::Result<u64> {
    let mut cx = cx.as_context_mut();
    let host = cx.data_mut();
    let align = host.rooms.wanted.get(host.rooms.given.len()).map_or(1, |(align, _)| *align);
    aligned(place, align)?;
    host.rooms.given.push(place);
    let wanted = host.rooms.next();
    if wanted == 0 {
        host.secluded = false;
        if let Some((answer, at)) = host.rooms.answer.take() {
            answer.put(&mut GuestMemory::of(&mut cx)?, at)?;
        }
    }
    Ok(wanted)
}
