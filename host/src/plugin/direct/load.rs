//! Reading what a guest hands over: text where it lies, everything else as copies.

use std::borrow::Cow;

use wasmtime::StoreContext;
use wasmtime::component::WasmStr;

use super::super::host::{Host, Misuse};

/// Text that a guest passes, where it lies in the guest's memory.
pub(in super::super) enum Text {
    /// By way of the runtime.
    Wit(WasmStr),
    /// Straight from a core module.
    Direct {
        /// Where.
        at: u32,
        /// Bytes.
        length: u32,
    },
}

impl Text {
    /// The text.
    ///
    /// # Errors
    /// When it is not within the guest's memory, or not UTF-8.
    #[inline]
    pub(in super::super) fn to_str<'a>(
        &self,
        store: impl Into<StoreContext<'a, Host>>,
    ) -> wasmtime::Result<Cow<'a, str>> {
        match *self {
            Self::Wit(ref text) => text.to_str(store),
            Self::Direct { at, length } => {
                let store = store.into();
                let memory = store.data().guest_memory()?;
                let bytes = slice(memory.data(store), at, length)?;
                Ok(Cow::Borrowed(std::str::from_utf8(bytes)?))
            }
        }
    }
}

/// Reads a guest's memory, no more in all than a guest may hand over in one call: one list can hold the same long text many
/// times.
pub(in super::super) struct Reader<'a> {
    memory: &'a [u8],
    left: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(memory: &'a [u8]) -> Self {
        Self { memory, left: super::super::instance::HANDED_OVER }
    }

    /// Whether a value of so many bytes can stand there.
    #[inline]
    pub(super) fn check(&self, at: u32, size: u32, align: u32) -> wasmtime::Result<()> {
        aligned(at, align)?;
        slice(self.memory, at, size).map(drop)
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, at: u32, length: u32) -> wasmtime::Result<&'a [u8]> {
        self.take(length as usize)?;
        slice(self.memory, at, length)
    }

    /// The bytes of a list whose place and length stand at `at`.
    pub(super) fn byte_list(&mut self, at: u32) -> wasmtime::Result<Vec<u8>> {
        let (at, length) = self.place(at)?;
        self.bytes(at, length).map(<[u8]>::to_vec)
    }

    /// A list's place and length.
    pub(super) fn place(&self, at: u32) -> wasmtime::Result<(u32, u32)> {
        Ok((self.u32(at)?, self.u32(at.wrapping_add(4))?))
    }

    pub(super) fn text(&mut self, at: u32, length: u32) -> wasmtime::Result<String> {
        Ok(std::str::from_utf8(self.bytes(at, length)?)?.to_owned())
    }

    pub(super) fn list<T: Load>(&mut self, at: u32, length: u32) -> wasmtime::Result<Vec<T>> {
        self.take((length as usize).saturating_mul(size_of::<T>()))?;
        self.check(at, length.saturating_mul(T::SIZE), T::ALIGN)?;
        let mut list = Vec::with_capacity(length as usize);
        for place in 0..length {
            list.push(T::load(self, at.wrapping_add(place.wrapping_mul(T::SIZE)))?);
        }
        Ok(list)
    }

    pub(super) fn u8(&self, at: u32) -> wasmtime::Result<u8> {
        Ok(slice(self.memory, at, 1)?[0])
    }

    pub(super) fn u16(&self, at: u32) -> wasmtime::Result<u16> {
        array(self.memory, at).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&self, at: u32) -> wasmtime::Result<u32> {
        array(self.memory, at).map(u32::from_le_bytes)
    }

    fn take(&mut self, bytes: usize) -> wasmtime::Result<()> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Misuse::Bound("more than 1 MiB was handed over in one call".into()).into()),
        }
    }
}

/// What lists can hold.
pub(in super::super) trait Load: Sized {
    /// Bytes in a guest's memory.
    const SIZE: u32;
    const ALIGN: u32;
    fn load(reader: &mut Reader<'_>, at: u32) -> wasmtime::Result<Self>;
}

impl Load for f64 {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 8;

    fn load(reader: &mut Reader<'_>, at: u32) -> wasmtime::Result<Self> {
        array(reader.memory, at).map(Self::from_le_bytes)
    }
}

impl Load for String {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;

    fn load(reader: &mut Reader<'_>, at: u32) -> wasmtime::Result<Self> {
        let (at, length) = reader.place(at)?;
        reader.text(at, length)
    }
}

impl Load for (String, String) {
    const SIZE: u32 = 16;
    const ALIGN: u32 = 4;

    fn load(reader: &mut Reader<'_>, at: u32) -> wasmtime::Result<Self> {
        Ok((String::load(reader, at)?, String::load(reader, at.wrapping_add(8))?))
    }
}

fn array<const N: usize>(memory: &[u8], at: u32) -> wasmtime::Result<[u8; N]> {
    memory.get(at as usize..).and_then(<[u8]>::first_chunk).copied().ok_or_else(outside)
}

fn slice(memory: &[u8], at: u32, length: u32) -> wasmtime::Result<&[u8]> {
    memory.get(at as usize..).and_then(|rest| rest.get(..length as usize)).ok_or_else(outside)
}

/// The canonical ABI has each value at a multiple of its alignment.
#[inline]
pub(super) fn aligned(at: u32, align: u32) -> wasmtime::Result<()> {
    if at.is_multiple_of(align) {
        return Ok(());
    }
    Err(Misuse::Bound(format!("a pointer is not aligned to {align} bytes")).into())
}

#[cold]
pub(super) fn outside() -> wasmtime::Error {
    Misuse::Bound("a pointer points out of the guest's memory".into()).into()
}
