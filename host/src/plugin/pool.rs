//! One worker's instances, lent to exchanges and taken back if they are sound.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::PluginUse;
use super::core::Core;
use super::grants::Reach;
use super::heritage::{Heritage, bequeath, inherit, inherit_on_fiber, is_heir};
use super::instance::{Fault, Instance};
use super::stats::{Cause, Hook, Tally};
use crate::config::Isolation;
use crate::kv::Connections;
use crate::tenant::Tenant;

/// One worker's instances of all plugin uses.
#[derive(Default)]
pub struct Pools {
    /// By the index of the use.
    pools: RefCell<Vec<Option<Rc<Pool>>>>,
    /// To servers of key spaces.
    connections: Connections,
    /// Exchanges that are over but for what their plugins still do.
    leaving: Cell<usize>,
    left: Notify,
}

/// One worker's instances of one use.
pub(super) struct Pool {
    pub(super) core: Arc<Core>,
    pub(super) tally: Arc<Tally>,
    reach: Arc<Reach>,
    /// In boxes, because an instance changes hands several times for each call; a few of them in place.
    idle: RefCell<SmallVec<[Box<Instance>; 2]>>,
    /// Instances that exist or are being made.
    live: Cell<usize>,
    waiting: RefCell<VecDeque<oneshot::Sender<()>>>,
    /// Whether this worker's pools have let go of it.
    dropped: Cell<bool>,
    /// What its predecessor knew, until an instance has been told.
    pub(super) heritage: RefCell<Option<Heritage>>,
}

/// An instance that is lent to an exchange. When it is dropped the instance goes back if it is sound.
pub(super) struct Lent {
    instance: Option<Box<Instance>>,
    pub(super) pool: Rc<Pool>,
}

/// What a pool has to offer at once.
pub(super) enum Offer {
    /// A warm instance.
    Warm(Lent),
    /// Room for a new one.
    Room(Room),
    /// All are lent.
    Busy,
}

/// The right to make one more instance.
pub(super) struct Room {
    pool: Rc<Pool>,
    filled: bool,
}

/// One of those that are leaving.
struct Leaving(Rc<Pools>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leaving.set(self.0.leaving.get() - 1);
        if self.0.is_at_rest() {
            self.0.left.notify_one();
        }
    }
}

impl Pools {
    /// Lets go of the instances of all other uses: those that are lent are dropped when they come back.
    pub fn retain<'a>(&self, uses: impl IntoIterator<Item = &'a Arc<PluginUse>>) {
        let uses: HashMap<usize, &Arc<Core>> =
            uses.into_iter().map(|plugin| (plugin.core.index, &plugin.core)).collect();
        self.bequeath(&uses);
        self.keep(|pool| uses.contains_key(&pool.core.index));
    }

    /// Runs the rest of an exchange that is over for its client. A drain waits for it.
    pub fn see_out(self: &Rc<Self>, rest: impl Future<Output = ()> + 'static) {
        self.leaving.set(self.leaving.get() + 1);
        let leaving = Leaving(Rc::clone(self));
        tokio::task::spawn_local(async move {
            rest.await;
            drop(leaving);
        });
    }

    /// Whether nothing is left to be done for exchanges that are over.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.leaving.get() == 0
    }

    /// Waits until the last such exchange is done with.
    pub async fn at_rest(&self) {
        self.left.notified().await;
    }

    /// Has those that are given up tell their heirs what they know.
    fn bequeath(&self, uses: &HashMap<usize, &Arc<Core>>) {
        let tells = |pool: &&Rc<Pool>| {
            pool.core.compiled.hooks.set.has(Hook::ExportState) && !uses.contains_key(&pool.core.index)
        };
        let gone: Vec<_> = self.pools.borrow().iter().flatten().filter(tells).cloned().collect();
        for pool in gone {
            let Some(heir) = uses.values().find(|heir| is_heir(heir, &pool.core)) else { continue };
            if let Some(heritage) = bequeath(&pool) {
                self.of(heir).heritage.replace(Some(heritage));
            }
        }
    }

    /// Bytes of linear memory that this worker's idle instances of that use have.
    #[must_use]
    pub fn idle_memory(&self, plugin: &PluginUse) -> usize {
        let pools = self.pools.borrow();
        let pool = pools.get(plugin.core.index).and_then(Option::as_ref);
        pool.map_or(0, |pool| pool.idle.borrow().iter().map(|instance| instance.memory()).sum())
    }

    /// This worker's pool of that use.
    #[inline]
    pub(super) fn of(&self, core: &Arc<Core>) -> Rc<Pool> {
        if let Some(Some(pool)) = self.pools.borrow().get(core.index) {
            return pool.clone();
        }
        self.open(core)
    }

    #[cold]
    fn open(&self, core: &Arc<Core>) -> Rc<Pool> {
        core.clock.keep_alarm();
        // Whoever adds a use is likely to have given up another one.
        self.keep(|pool| !pool.core.retired.load(Ordering::Relaxed));
        let pool = Rc::new(Pool {
            tally: core.stats.tally(),
            reach: core.outside.reach(&self.connections).into(),
            core: core.clone(),
            idle: RefCell::default(),
            live: Cell::new(0),
            waiting: RefCell::default(),
            dropped: Cell::new(false),
            heritage: RefCell::default(),
        });
        let mut pools = self.pools.borrow_mut();
        if pools.len() <= core.index {
            pools.resize_with(core.index + 1, || None);
        }
        pools[core.index] = Some(pool.clone());
        pool
    }

    /// Drops this worker's idle instances of that tenant. Says whether there were any.
    pub(super) fn shed(&self, tenant: &Tenant) -> bool {
        let is_its = |pool: &&Rc<Pool>| pool.core.tenant.as_ref().is_some_and(|owner| owner.id == tenant.id);
        let its: Vec<_> = self.pools.borrow().iter().flatten().filter(is_its).cloned().collect();
        // Dropping instances takes a while, and must not find the pools borrowed.
        let shed = its.iter().map(|pool| pool.drop_idle()).sum::<usize>();
        shed > 0
    }

    fn keep(&self, wanted: impl Fn(&Pool) -> bool) {
        let mut gone = Vec::new();
        for place in self.pools.borrow_mut().iter_mut() {
            if place.as_ref().is_some_and(|pool| !wanted(pool)) {
                gone.extend(place.take());
            }
        }
        // Dropping instances takes a while, and must not find the pools borrowed.
        for pool in gone {
            pool.dropped.set(true);
            pool.drop_idle();
        }
    }
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}

impl Pool {
    /// An instance, or room for one, if there is any without waiting.
    #[inline]
    pub(super) fn offer(self: &Rc<Self>) -> Offer {
        if let Some(instance) = self.idle.borrow_mut().pop() {
            return Offer::Warm(Lent { instance: Some(instance), pool: self.clone() });
        }
        if self.live.get() >= self.core.limits.instances {
            return Offer::Busy;
        }
        self.live.set(self.live.get() + 1);
        self.tally.live(self.live.get());
        Offer::Room(Room { pool: self.clone(), filled: false })
    }

    /// Whether there is nothing to be had without waiting.
    pub(super) fn is_busy(&self) -> bool {
        self.idle.borrow().is_empty() && self.live.get() >= self.core.limits.instances
    }

    /// Waits for an instance, or room for one, but not for long.
    pub(super) async fn wait(self: &Rc<Self>) -> Result<Offer, Fault> {
        let until = Instant::now() + LONGEST_WAIT;
        loop {
            match self.offer() {
                Offer::Busy => {}
                offer => return Ok(offer),
            }
            let (wake, woken) = oneshot::channel();
            {
                let mut waiting = self.waiting.borrow_mut();
                waiting.retain(|waiter| !waiter.is_closed());
                if waiting.len() >= self.core.limits.instances.max(1) {
                    return Err(self.exhausted());
                }
                waiting.push_back(wake);
            }
            if tokio::time::timeout_at(until, woken).await.is_err() {
                return Err(self.exhausted());
            }
        }
    }

    /// Drops the idle instances, and says how many there were.
    fn drop_idle(&self) -> usize {
        let idle = self.idle.take();
        self.live.set(self.live.get() - idle.len());
        self.tally.live(self.live.get());
        idle.len()
    }

    pub(super) fn exhausted(&self) -> Fault {
        let detail = format!("all {} instances (limits.instances) are busy", self.core.limits.instances);
        Fault { hook: Hook::Configure, cause: Cause::Capacity, detail }
    }

    /// An idle instance that will not come back.
    pub(super) fn take_idle(&self) -> Option<Box<Instance>> {
        let instance = self.idle.borrow_mut().pop()?;
        self.shrink();
        Some(instance)
    }

    /// One instance less.
    fn shrink(&self) {
        self.live.set(self.live.get() - 1);
        self.tally.live(self.live.get());
        self.wake();
    }

    fn wake(&self) {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(waiter) = waiting.pop_front() {
            if waiter.send(()).is_ok() {
                return;
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.core.stats.retire(&self.tally);
    }
}

impl Room {
    /// Makes the instance on the worker's own stack.
    pub(super) fn fill(self) -> Result<Lent, Fault> {
        let started = self.started();
        let made = Instance::new_plain(&self.pool.core).and_then(|instance| inherit(&self.pool, instance));
        self.charge(started);
        Ok(self.filled(made?, started))
    }

    /// Makes the instance on a stack of its own.
    pub(super) async fn fill_on_fiber(self) -> Result<Lent, Fault> {
        let started = self.started();
        let made = match Instance::new_on_fiber(&self.pool.core).await {
            Ok(instance) => inherit_on_fiber(&self.pool, instance).await,
            Err(fault) => Err(fault),
        };
        self.charge(started);
        Ok(self.filled(made?, started))
    }

    fn started(&self) -> Instant {
        if self.pool.core.compiled.hooks.set.has(Hook::Configure) {
            self.pool.tally.call(Hook::Configure);
        }
        Instant::now()
    }

    /// What the tenant owes, be there an instance or not.
    fn charge(&self, started: Instant) {
        let core = &self.pool.core;
        if let Some(tenant) = &core.tenant {
            let took = started.elapsed().min(core.limits.cpu);
            tenant.computed(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    fn filled(mut self, mut instance: Instance, started: Instant) -> Lent {
        instance.may_reach(self.pool.reach.clone());
        self.pool.tally.made(started.elapsed());
        // The instance takes the place that was kept for it.
        self.filled = true;
        Lent { instance: Some(Box::new(instance)), pool: self.pool.clone() }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !self.filled {
            self.pool.shrink();
        }
    }
}

impl Lent {
    /// The instance.
    #[inline]
    pub(super) fn instance(&mut self) -> &mut Instance {
        self.instance.as_deref_mut().expect("only dropping takes it")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut instance) = self.instance.take() else { return };
        instance.exchanges += 1;
        let core = &self.pool.core;
        let keep = instance.is_sound()
            && core.isolation == Isolation::Use
            && !instance.is_worn()
            && !self.pool.dropped.get()
            && !core.retired.load(Ordering::Relaxed);
        if keep {
            self.pool.idle.borrow_mut().push(instance);
            self.pool.wake();
        } else {
            drop(instance);
            self.pool.shrink();
        }
    }
}

/// How long an exchange waits for an instance.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
