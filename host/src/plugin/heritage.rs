//! What a plugin knows, handed to the version that takes its place: on each worker from one warm instance of the old version
//! to the first instance of the new one. Whatever goes wrong with it, the new version starts without.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::oneshot;

use super::core::Core;
use super::failure::state_lost;
use super::instance::{Fault, Instance};
use super::pool::Pool;
use super::stats::Hook;

/// Where the state of a predecessor will be.
pub(super) type Heritage = oneshot::Receiver<Vec<u8>>;

/// Whether the instances of `heir` want to know what those of `core` know.
pub(super) fn is_heir(heir: &Core, core: &Core) -> bool {
    heir.id != core.id
        && heir.line() == core.line()
        && core.compiled.hooks.set.has(Hook::ExportState)
        && heir.compiled.hooks.set.has(Hook::ImportState)
}

/// Has an instance of `pool`, which is given up, tell what it knows. It waits for it in a task of its own if need be.
pub(super) fn bequeath(pool: &Rc<Pool>) -> Option<Heritage> {
    // The one that was used last, and so most of all.
    let instance = pool.take_idle()?;
    pool.tally.call(Hook::ExportState);
    let (tell, told) = oneshot::channel();
    let mut telling = Box::pin(export(Arc::clone(&pool.core), instance, tell));
    if telling.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        tokio::task::spawn_local(telling);
    }
    Some(told)
}

async fn export(core: Arc<Core>, mut instance: Box<Instance>, tell: oneshot::Sender<Vec<u8>>) {
    match instance.export_state(&core).await {
        // Nobody may be there any more to whom it matters.
        Ok(state) => drop(tell.send(state)),
        Err(fault) => state_lost(&core, &fault),
    }
}

/// The first instance on this worker that is made on the worker's own stack: it knows what its predecessor knew, if that has
/// been told by now.
pub(super) fn inherit(pool: &Pool, mut instance: Instance) -> Result<Instance, Fault> {
    let Some(state) = pool.heritage.borrow_mut().take().and_then(|mut heritage| heritage.try_recv().ok()) else {
        return Ok(instance);
    };
    pool.tally.call(Hook::ImportState);
    match instance.import_state(&state) {
        Ok(()) => Ok(instance),
        Err(fault) => {
            state_lost(&pool.core, &fault);
            Instance::new_plain(&pool.core)
        }
    }
}

/// The same on a stack of its own; it waits a moment.
pub(super) async fn inherit_on_fiber(pool: &Pool, mut instance: Instance) -> Result<Instance, Fault> {
    let Some(heritage) = pool.heritage.borrow_mut().take() else { return Ok(instance) };
    let Ok(Ok(state)) = tokio::time::timeout(PATIENCE, heritage).await else { return Ok(instance) };
    pool.tally.call(Hook::ImportState);
    match instance.import_state_on_fiber(&state, &pool.core).await {
        Ok(()) => Ok(instance),
        Err(fault) => {
            state_lost(&pool.core, &fault);
            Instance::new_on_fiber(&pool.core).await
        }
    }
}

/// How long the first exchange of a new version waits for what the old one knows.
const PATIENCE: Duration = Duration::from_millis(100);
