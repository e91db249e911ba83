//! `lockgate:plugin/random`

use std::sync::Arc;

use super::super::host::{Host, Misuse};
use super::{Cx, LinkerInstance};
use crate::outbound::StandIn;

pub(super) fn link(random: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    random.func_wrap("bytes", |_: Cx<'_>, (length,): (u32,)| {
        check_length(length)?;
        let mut bytes = vec![0; length as usize];
        getrandom::fill(&mut bytes).map_err(no_randomness)?;
        Ok((bytes,))
    })?;
    random.func_wrap("number", |mut cx: Cx<'_>, (): ()| Ok((cx.data_mut().entropy.number()?,)))
}

/// The chance of a scenario.
pub(super) fn link_arranged(random: &mut LinkerInstance<'_, Host>, stand_in: &Arc<StandIn>) -> wasmtime::Result<()> {
    let (bytes, number) = (stand_in.clone(), stand_in.clone());
    random.func_wrap("bytes", move |_: Cx<'_>, (length,): (u32,)| {
        check_length(length)?;
        Ok((bytes.bytes(length as usize),))
    })?;
    random.func_wrap("number", move |_: Cx<'_>, (): ()| Ok((number.number(),)))
}

fn check_length(length: u32) -> Result<(), Misuse> {
    if length > MOST_BYTES {
        return Err(Misuse::Bound(format!("random.bytes was asked for more than {MOST_BYTES} bytes")));
    }
    Ok(())
}

fn no_randomness(error: getrandom::Error) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the system gives no random numbers: {error}"))
}

/// Random numbers that have been fetched and not been used: the system is asked for many at a time.
#[derive(Default)]
pub(in super::super) struct Entropy {
    numbers: [u64; 16],
    left: usize,
}

impl Entropy {
    fn number(&mut self) -> wasmtime::Result<u64> {
        if self.left == 0 {
            let mut bytes = [0; 128];
            getrandom::fill(&mut bytes).map_err(no_randomness)?;
            let (chunks, _) = bytes.as_chunks::<8>();
            for (number, chunk) in self.numbers.iter_mut().zip(chunks) {
                *number = u64::from_ne_bytes(*chunk);
            }
            self.left = self.numbers.len();
        }
        self.left -= 1;
        Ok(std::mem::take(&mut self.numbers[self.left]))
    }
}

/// Bytes in one call.
const MOST_BYTES: u32 = 64 << 10;
