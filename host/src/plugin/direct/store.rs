//! Putting what an import answers into a guest's memory.

use wasmtime::{AsContextMut, WasmRet};

use super::super::host::{Host, Misuse};
use super::super::imports::Cx;
use super::load::{aligned, outside};

/// What an import answers: a value that core functions can return, or one that goes where the guest says.
pub(in super::super) trait Answer: 'static {
    /// Whether it is put into the guest's memory.
    const IN_MEMORY: bool;
    type Flat: WasmRet;
    /// The value, if it is not.
    fn flat(self) -> Self::Flat;
    /// Puts it there, if it is.
    fn put(self, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<()>;
}

/// A value that can stand in a guest's memory.
pub(in super::super) trait Put: Sized + 'static {
    /// Bytes in the guest's memory.
    const SIZE: u32;
    const ALIGN: u32;
    fn put(self, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<()>;

    /// Puts many of them there.
    fn put_all(all: Vec<Self>, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<()> {
        (at..).step_by(Self::SIZE as usize).zip(all).try_for_each(|(at, one)| one.put(cx, at))
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

            fn put(self, _: &mut Cx<'_>, _: u32) -> wasmtime::Result<()> {
                Ok(())
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

    fn put(self, _: &mut Cx<'_>, _: u32) -> wasmtime::Result<()> {
        Ok(())
    }
}

macro_rules! in_memory {
    ($($type:ty),*) => {$(
        impl $crate::plugin::direct::Answer for ($type,) {
            const IN_MEMORY: bool = true;
            type Flat = ();

            fn flat(self) {}

            #[inline]
            fn put(self, cx: &mut $crate::plugin::imports::Cx<'_>, at: u32) -> wasmtime::Result<()> {
                $crate::plugin::direct::put_aligned(self.0, cx, at)
            }
        }
    )*};
}
pub(in super::super) use in_memory;

in_memory!(String, Option<String>, Vec<u8>, Vec<Vec<u8>>, Vec<(String, Vec<u8>)>);

/// Puts a value where the guest wants it.
#[inline]
pub(in super::super) fn put_aligned<T: Put>(value: T, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<()> {
    aligned(at, T::ALIGN)?;
    value.put(cx, at)
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Put for $type {
            const SIZE: u32 = size_of::<$type>() as u32;
            const ALIGN: u32 = Self::SIZE;

            #[inline]
            fn put(self, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<()> {
                write(cx, at, &self.to_le_bytes())
            }
        }
    )*};
}

number!(u32, u64);

impl Put for u8 {
    const SIZE: u32 = 1;
    const ALIGN: u32 = 1;

    #[inline]
    fn put(self, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<()> {
        write(cx, at, &[self])
    }

    fn put_all(all: Vec<Self>, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<()> {
        write(cx, at, &all)
    }
}

impl Put for String {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;

    #[inline]
    fn put(self, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<()> {
        self.into_bytes().put(cx, at)
    }
}

impl<T: Put> Put for Vec<T> {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;

    fn put(self, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<()> {
        let length = u32::try_from(self.len()).map_err(|_| outside())?;
        let size = length.checked_mul(T::SIZE).ok_or_else(outside)?;
        let place = allocate(cx, T::ALIGN, size)?;
        T::put_all(self, cx, place)?;
        place.put(cx, at)?;
        length.put(cx, at.wrapping_add(4))
    }
}

impl<A: Put, B: Put> Put for (A, B) {
    const ALIGN: u32 = if A::ALIGN > B::ALIGN { A::ALIGN } else { B::ALIGN };
    const SIZE: u32 = (A::SIZE.next_multiple_of(B::ALIGN) + B::SIZE).next_multiple_of(Self::ALIGN);

    fn put(self, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<()> {
        self.0.put(cx, at)?;
        self.1.put(cx, at.wrapping_add(A::SIZE.next_multiple_of(B::ALIGN)))
    }
}

impl<T: Put> Put for Option<T> {
    const ALIGN: u32 = T::ALIGN;
    const SIZE: u32 = T::ALIGN + T::SIZE;

    #[inline]
    fn put(self, cx: &mut Cx<'_>, at: u32) -> wasmtime::Result<()> {
        u8::from(self.is_some()).put(cx, at)?;
        self.map_or(Ok(()), |value| value.put(cx, at.wrapping_add(T::ALIGN)))
    }
}

/// Writes into the guest's memory.
#[inline]
pub(super) fn write(cx: &mut Cx<'_>, at: u32, bytes: &[u8]) -> wasmtime::Result<()> {
    let memory = cx.data().guest_memory()?;
    let place = memory.data_mut(cx).get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
    place.ok_or_else(outside)?.copy_from_slice(bytes);
    Ok(())
}

/// Has the guest make room. Nothing can be called by it meanwhile.
pub(super) fn allocate(cx: &mut impl AsContextMut<Data = Host>, align: u32, size: u32) -> wasmtime::Result<u32> {
    if size == 0 {
        // Any place that is aligned will do.
        return Ok(align);
    }
    let mut cx = cx.as_context_mut();
    let host = cx.data_mut();
    let realloc = host.realloc.take().ok_or_else(|| Misuse::Bound("it exports no `cabi_realloc`".into()))?;
    host.secluded = true;
    let place = realloc.call(&mut cx, (0, 0, align, size))?;
    let host = cx.data_mut();
    host.secluded = false;
    host.realloc = Some(realloc);
    aligned(place, align)?;
    Ok(place)
}
