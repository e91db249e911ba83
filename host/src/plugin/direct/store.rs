//! Putting what an import answers into a guest's memory.

use wasmtime::WasmRet;

use super::super::host::Host;
use super::super::imports::Cx;
use super::load::{aligned, outside};
use super::rooms::{Rooms, put_or_want};

/// What an import answers: a value that core functions can return, or one that goes where the guest says.
pub(in super::super) trait Answer: 'static {
    /// Whether it is put into the guest's memory.
    const IN_MEMORY: bool;
    /// Whether it can need more room there than the guest has made for it.
    const WANTS_ROOM: bool = false;
    type Flat: WasmRet;
    /// The value, if it is not.
    fn flat(self) -> Self::Flat;
    /// Puts it there, if it is; or says what room it wants first.
    fn put(self, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<u64>;
}

/// A value that can stand in a guest's memory.
pub(in super::super) trait Put: Sized + Send + Sync + 'static {
    /// Bytes in the guest's memory.
    const SIZE: u32;
    const ALIGN: u32;
    /// Whether parts of it can stand elsewhere.
    const WANTS_ROOM: bool = false;
    /// Says what room those parts want, in the order in which [`Put::put`] takes it.
    fn rooms(&self, _: &mut Rooms) -> wasmtime::Result<()> {
        Ok(())
    }
    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()>;

    /// Puts many of them there.
    fn put_all(all: Vec<Self>, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        (at..).step_by(Self::SIZE as usize).zip(all).try_for_each(|(at, one)| one.put(guest, at))
    }
}

macro_rules! flat {
    ($($type:ty => $flat:ty,)*) => {$(
        impl Answer for $type {
            const IN_MEMORY: bool = false;
            type Flat = $flat;

            #[inline]
            fn flat(self) -> $flat {
                self.0.into()
            }

            fn put(self, _: &mut Cx<'_>, _: u32) -> wasmtime::Result<u64> {
                Ok(0)
            }
        }
    )*};
}

flat! {
    (bool,) => u32,
    (u16,) => u32,
    (u32,) => u32,
    (u64,) => u64,
}

impl Answer for () {
    const IN_MEMORY: bool = false;
    type Flat = ();

    fn flat(self) {}

    fn put(self, _: &mut Cx<'_>, _: u32) -> wasmtime::Result<u64> {
        Ok(0)
    }
}

macro_rules! in_memory {
    ($($type:ty),*) => {$(
        impl $crate::plugin::direct::Answer for ($type,) {
            const IN_MEMORY: bool = true;
            const WANTS_ROOM: bool = <$type as $crate::plugin::direct::Put>::WANTS_ROOM;
            type Flat = ();

            fn flat(self) {}

            #[inline]
            fn put(self, cx: &mut $crate::plugin::imports::Cx<'_>, at: u32) -> wasmtime::Result<u64> {
                $crate::plugin::direct::put_aligned(self.0, cx, at)
            }
        }
    )*};
}
pub(in super::super) use in_memory;

in_memory!(String, Option<String>, Vec<u8>, Vec<Vec<u8>>, Vec<(String, String)>, Vec<(String, Vec<u8>)>);

/// Puts a value where the guest wants it, or says what room it wants first.
#[inline]
pub(in super::super) fn put_aligned<T: Put>(value: T, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<u64> {
    aligned(at, T::ALIGN)?;
    let mut guest = GuestMemory::of(cx)?;
    guest.slice(at, T::SIZE)?;
    if T::WANTS_ROOM {
        return put_or_want(value, &mut guest, at);
    }
    value.put(&mut guest, at)?;
    Ok(0)
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Put for $type {
            const SIZE: u32 = size_of::<$type>() as u32;
            const ALIGN: u32 = Self::SIZE;

            #[inline]
            fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
                guest.write(at, &self.to_le_bytes())
            }
        }
    )*};
}

number!(u16, u32, u64, i64);

impl Put for u8 {
    const SIZE: u32 = 1;
    const ALIGN: u32 = 1;

    #[inline]
    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        guest.write(at, &[self])
    }

    fn put_all(all: Vec<Self>, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        guest.write(at, &all)
    }
}

impl Put for bool {
    const SIZE: u32 = 1;
    const ALIGN: u32 = 1;

    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        u8::from(self).put(guest, at)
    }
}

impl Put for () {
    const SIZE: u32 = 0;
    const ALIGN: u32 = 1;

    fn put(self, _: &mut GuestMemory<'_>, _: u32) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl Put for String {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;
    const WANTS_ROOM: bool = true;

    #[inline]
    fn rooms(&self, rooms: &mut Rooms) -> wasmtime::Result<()> {
        rooms.want(1, u32::try_from(self.len()).map_err(|_| outside())?);
        Ok(())
    }

    #[inline]
    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        self.into_bytes().put(guest, at)
    }
}

impl<T: Put> Put for Vec<T> {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;
    const WANTS_ROOM: bool = true;

    #[inline]
    fn rooms(&self, rooms: &mut Rooms) -> wasmtime::Result<()> {
        rooms.want(T::ALIGN, size_of_list(self)?.1);
        if T::WANTS_ROOM { self.iter().try_for_each(|one| one.rooms(rooms)) } else { Ok(()) }
    }

    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        let (length, _) = size_of_list(&self)?;
        let place = guest.host.rooms.take()?;
        T::put_all(self, guest, place)?;
        place.put(guest, at)?;
        length.put(guest, at.wrapping_add(4))
    }
}

/// How many there are, and the bytes that they take.
fn size_of_list<T: Put>(list: &[T]) -> wasmtime::Result<(u32, u32)> {
    let length = u32::try_from(list.len()).map_err(|_| outside())?;
    Ok((length, length.checked_mul(T::SIZE).ok_or_else(outside)?))
}

impl<A: Put, B: Put> Put for (A, B) {
    const ALIGN: u32 = larger(A::ALIGN, B::ALIGN);
    const SIZE: u32 = (A::SIZE.next_multiple_of(B::ALIGN) + B::SIZE).next_multiple_of(Self::ALIGN);
    const WANTS_ROOM: bool = A::WANTS_ROOM || B::WANTS_ROOM;

    fn rooms(&self, rooms: &mut Rooms) -> wasmtime::Result<()> {
        self.0.rooms(rooms)?;
        self.1.rooms(rooms)
    }

    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        self.0.put(guest, at)?;
        self.1.put(guest, at.wrapping_add(A::SIZE.next_multiple_of(B::ALIGN)))
    }
}

impl<T: Put> Put for Option<T> {
    const ALIGN: u32 = T::ALIGN;
    const SIZE: u32 = (T::ALIGN + T::SIZE).next_multiple_of(T::ALIGN);
    const WANTS_ROOM: bool = T::WANTS_ROOM;

    #[inline]
    fn rooms(&self, rooms: &mut Rooms) -> wasmtime::Result<()> {
        self.as_ref().map_or(Ok(()), |value| value.rooms(rooms))
    }

    #[inline]
    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        u8::from(self.is_some()).put(guest, at)?;
        self.map_or(Ok(()), |value| value.put(guest, at.wrapping_add(T::ALIGN)))
    }
}

impl<T: Put, E: Put> Put for Result<T, E> {
    const ALIGN: u32 = larger(T::ALIGN, E::ALIGN);
    const SIZE: u32 = (Self::ALIGN + larger(T::SIZE, E::SIZE)).next_multiple_of(Self::ALIGN);
    const WANTS_ROOM: bool = T::WANTS_ROOM || E::WANTS_ROOM;

    fn rooms(&self, rooms: &mut Rooms) -> wasmtime::Result<()> {
        match self {
            Ok(value) => value.rooms(rooms),
            Err(error) => error.rooms(rooms),
        }
    }

    #[inline]
    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        u8::from(self.is_err()).put(guest, at)?;
        let payload = at.wrapping_add(Self::ALIGN);
        match self {
            Ok(value) => value.put(guest, payload),
            Err(error) => error.put(guest, payload),
        }
    }
}

const fn larger(one: u32, other: u32) -> u32 {
    if one > other { one } else { other }
}

/// A guest's memory while an answer is put there.
pub(in super::super) struct GuestMemory<'a> {
    bytes: &'a mut [u8],
    pub(super) host: &'a mut Host,
}

impl<'a> GuestMemory<'a> {
    #[inline]
    pub(super) fn of(cx: &'a mut Cx<'_>) -> wasmtime::Result<Self> {
        let memory = cx.data().guest_memory()?;
        let (bytes, host) = memory.data_and_store_mut(cx);
        Ok(Self { bytes, host })
    }

    #[inline]
    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> wasmtime::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| outside())?;
        self.slice(at, length)?.copy_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn slice(&mut self, at: u32, length: u32) -> wasmtime::Result<&mut [u8]> {
        let place = self.bytes.get_mut(at as usize..).and_then(|rest| rest.get_mut(..length as usize));
        place.ok_or_else(outside)
    }
}
