//! Compiling a component that nobody need trust: what would take for ever is refused beforehand, and what takes too long is
//! not waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wasmparser::{FunctionBody, Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Refuses a component whose size alone says that compiling it would cost more than any plugin is worth. Whether it is valid
/// is for the compiler to say.
pub(super) fn examine(component: &[u8]) -> Result<(), String> {
    let (mut modules, mut functions) = (0, 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => modules += 1,
            Ok(Payload::CodeSectionStart { count, .. }) => functions += count,
            Ok(Payload::CodeSectionEntry(body)) => examine_function(&body)?,
            Ok(_) => {}
            // The compiler says it better.
            Err(_) => return Ok(()),
        }
        if modules > MOST_MODULES {
            return Err(format!("has more than {MOST_MODULES} modules in it"));
        }
        if functions > MOST_FUNCTIONS {
            return Err(format!("has more than {MOST_FUNCTIONS} functions"));
        }
    }
    Ok(())
}

fn examine_function(body: &FunctionBody<'_>) -> Result<(), String> {
    let size = body.range().len();
    if size > LARGEST_FUNCTION {
        return Err(format!("has a function of more than {} KiB", LARGEST_FUNCTION >> 10));
    }
    let Ok(locals) = body.get_locals_reader() else { return Ok(()) };
    let locals: u64 = locals.into_iter().flatten().map(|(count, _)| u64::from(count)).sum();
    if locals > MOST_LOCALS || locals * size as u64 > MOST_WORK {
        return Err(format!("has a function of {size} bytes with {locals} locals, which takes too long to compile"));
    }
    Ok(())
}

/// Compiles a component in a thread of its own, and does not wait for longer than `limit`. A compiler cannot be interrupted, so
/// what was given up goes on to its end; while there are [`MOST_GIVEN_UP`] of those, nothing else is compiled.
pub(super) fn compile(
    component: Vec<u8>,
    limit: Duration,
    engine: &Engine,
) -> Result<wasmtime::Result<Component>, String> {
    if GIVEN_UP.load(Ordering::SeqCst) >= MOST_GIVEN_UP {
        return Err(format!("is not compiled while {MOST_GIVEN_UP} others are that took too long"));
    }
    let engine = engine.clone();
    let given_up = Arc::new(AtomicBool::new(false));
    let over = Over(Arc::clone(&given_up));
    let (tell, told) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("plugin-compiler".into()).spawn(move || {
        let _over = over;
        let _ = tell.send(Component::from_binary(&engine, &component));
    });
    thread.map_err(|error| format!("cannot be compiled: the system refuses a thread: {error}"))?;
    match told.recv_timeout(limit) {
        Ok(compiled) => Ok(compiled),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("made the compiler panic".into()),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            // The thread counts itself out when it ends. Should it end right now, it finds the mark and does so.
            GIVEN_UP.fetch_add(1, Ordering::SeqCst);
            if given_up.swap(true, Ordering::SeqCst) {
                GIVEN_UP.fetch_sub(1, Ordering::SeqCst);
            }
            let limit = humantime::format_duration(limit);
            Err(format!("takes longer than {limit} to compile (limits.compile)"))
        }
    }
}

/// The end of a compilation, however it comes.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        if self.0.swap(true, Ordering::SeqCst) {
            GIVEN_UP.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Compilations that nobody waits for any more.
static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);

const MOST_GIVEN_UP: usize = 2;

/// Tool chains make a dozen at most.
const MOST_MODULES: u32 = 100;

/// An interpreter of Python has some 30 000.
const MOST_FUNCTIONS: u32 = 200_000;

/// Bytes of one function. The main loop of an interpreter has some 100 KiB.
const LARGEST_FUNCTION: usize = 2 << 20;

/// Locals of one function.
const MOST_LOCALS: u64 = 20_000;

/// Locals of a function times its bytes: the compiler looks at each local in each block.
const MOST_WORK: u64 = 1 << 31;
