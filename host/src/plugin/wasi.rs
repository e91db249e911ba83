//! WASI 0.2 for guests whose tool chain cannot do without: clocks, random numbers, and standard output that goes to the log.
//! Everything else is there and denied: no files, no environment, no arguments, no sockets, no names.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::host::Host;
use super::imports::log::{self, Level};
use crate::outbound::StandIn;

/// What one instance has of WASI.
pub(super) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    output: Output,
    /// The call in hand has called it more often than it may call the host.
    pub(super) called_too_often: bool,
}

/// What a guest has written to standard output and standard error, until its hook returns and it is logged.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    /// Those that are complete.
    lines: Vec<(Level, String)>,
    /// The one that is not.
    begun: Vec<u8>,
    bytes: usize,
    dropped: u64,
}

/// One of the two streams.
#[derive(Clone)]
struct Stream {
    output: Output,
    level: Level,
}

/// Links all of WASI 0.2. What may wait is linked so that it does not block the worker.
pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

impl Wasi {
    /// `stand_in` is the world of a scenario, if it is one.
    pub(super) fn new(stand_in: Option<&Arc<StandIn>>) -> Self {
        let output = Output::default();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MOST_RESOURCES);
        let stream = |level| Stream { output: output.clone(), level };
        // Nothing is inherited, opened or allowed that is not named here.
        let mut context = WasiCtx::builder();
        context.stdout(stream(Level::Info)).stderr(stream(Level::Warn)).max_random_size(MOST_RANDOM);
        if let Some(stand_in) = stand_in {
            Self::arrange(&mut context, stand_in);
        }
        Self { context: context.build(), table, output, called_too_often: false }
    }

    fn arrange(context: &mut WasiCtxBuilder, stand_in: &Arc<StandIn>) {
        let random = || Deterministic::new(stand_in.bytes(64 << 10));
        context
            .wall_clock(Arranged(stand_in.clone()))
            .monotonic_clock(Arranged(stand_in.clone()))
            .secure_random(random())
            .insecure_random(random())
            .insecure_random_seed(u128::from(stand_in.number()));
    }

    /// What was written since this was asked last, line by line, and how many lines were too many.
    fn take(&self) -> (Vec<(Level, String)>, u64) {
        let mut lines = self.output.lock();
        if !lines.begun.is_empty() {
            lines.end(Level::Info);
        }
        lines.bytes = 0;
        (std::mem::take(&mut lines.lines), std::mem::take(&mut lines.dropped))
    }
}

/// Logs what the guest has written in the call that ends.
#[cold]
pub(super) fn log_output(host: &mut Host) {
    let Some(wasi) = &mut host.wasi else { return };
    wasi.called_too_often = false;
    let (lines, dropped) = wasi.take();
    for (level, line) in lines {
        log::line(host, level, &line);
    }
    host.core.stats.log_lines_dropped.fetch_add(dropped, std::sync::atomic::Ordering::Relaxed);
}

/// The clocks of a scenario.
struct Arranged(Arc<StandIn>);

impl HostWallClock for Arranged {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.now())
    }
}

impl HostMonotonicClock for Arranged {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.0.now()
    }
}

impl WasiView for Host {
    /// At each call of an import of WASI. There is no way to refuse it here: the next tick ends the call, if it still lasts.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let too_often = self.host_call().is_err();
        let wasi = self.wasi.as_deref_mut().expect("only what imports WASI calls it, and has it");
        wasi.called_too_often |= too_often;
        WasiCtxView { ctx: &mut wasi.context, table: &mut wasi.table }
    }
}

impl Output {
    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn write(&mut self, level: Level, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(rest) => {
                    self.begin(rest);
                    self.end(level);
                }
                None => self.begin(part),
            }
        }
    }

    fn begin(&mut self, part: &[u8]) {
        let room = LONGEST_LINE.saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn end(&mut self, level: Level) {
        let line = std::mem::take(&mut self.begun);
        if self.lines.len() >= MOST_LINES || self.bytes + line.len() > MOST_BYTES {
            self.dropped += 1;
            return;
        }
        self.bytes += line.len();
        self.lines.push((level, String::from_utf8_lossy(&line).into_owned()));
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // For other versions of WASI, which are not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.output.lock().write(self.level, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LONGEST_LINE)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

/// Streams, pollables and the like that an instance may have.
const MOST_RESOURCES: usize = 1000;

/// Random bytes in one call.
const MOST_RANDOM: u64 = 64 << 10;

/// Of a line, what is kept.
const LONGEST_LINE: usize = 4 << 10;

/// Of the output of one call, what is kept until it is logged. How much of it is logged is for the limits of the log to say.
const MOST_LINES: usize = 256;
const MOST_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_becomes_lines_however_it_is_cut_and_is_bounded() {
        let wasi = Wasi::new(None);
        let mut stream = Stream { output: wasi.output.clone(), level: Level::Info };
        for part in ["one\ntw", "o\n", "", "rest"] {
            assert!(stream.write(part.as_bytes().to_vec().into()).is_ok());
        }
        let (lines, dropped) = wasi.take();
        assert_eq!(lines.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>(), ["one", "two", "rest"]);
        assert_eq!((dropped, wasi.take().0.len()), (0, 0));
        for _ in 0..10_000 {
            assert!(stream.write(vec![b'x'; 4000].into()).is_ok());
            assert!(stream.write(b"\n".to_vec().into()).is_ok());
        }
        let (lines, dropped) = wasi.take();
        assert!(lines.len() < 20 && dropped > 9000, "{} {dropped}", lines.len());
    }
}
