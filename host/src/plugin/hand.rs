//! The exchange in hand: it moves into an instance for the time of a call, and always back.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::core::Core;
use super::failure::failed;
use super::hooks::ExchangeHook;
use super::instance::Fault;
use super::pool::{Lent, Offer, Pool, Pools};
use super::quarantine::Pass;
use super::stats::{Cause, Hook};
use super::{Failure, PluginUse};
use crate::exchange::Exchange;

/// One exchange, and the instances that are kept for it from its first hook to its last.
pub(super) struct Hand {
    /// None only while an instance has it.
    exchange: Option<Box<Exchange>>,
    kept: SmallVec<[Kept; 4]>,
    pools: Rc<Pools>,
}

/// An instance that is kept for the next hook.
struct Kept {
    lent: Lent,
    pass: Pass,
}

/// What a call came to: an error is `None` when the plugin is to be skipped.
pub(super) type Called<T> = Result<T, Option<Failure>>;

impl Hand {
    pub(super) fn new(exchange: Box<Exchange>, pools: Rc<Pools>) -> Self {
        Self { exchange: Some(exchange), kept: SmallVec::new(), pools }
    }

    #[inline]
    pub(super) fn exchange(&self) -> &Exchange {
        self.exchange.as_deref().expect("a call gives it back, however it ends")
    }

    #[inline]
    pub(super) fn exchange_mut(&mut self) -> &mut Exchange {
        self.exchange.as_deref_mut().expect("a call gives it back, however it ends")
    }

    /// The worker's pools.
    pub(super) fn pools(&self) -> Rc<Pools> {
        self.pools.clone()
    }

    /// Calls a hook, if that can be done without waiting.
    pub(super) fn call_now<H: ExchangeHook, T>(
        &mut self,
        plugin: &PluginUse,
        hook: H,
        keep: bool,
        check: impl FnOnce(H::Return) -> Result<T, String>,
    ) -> Option<Called<T>> {
        let core = &plugin.core;
        if !core.plain {
            return None;
        }
        let mut kept = match self.kept(core) {
            Some(kept) => kept,
            None => match self.lend_now(core)? {
                Ok(kept) => kept,
                Err((pass, fault)) => return Some(Err(self.failed(core, H::HOOK, pass, fault))),
            },
        };
        let time = kept.lent.pool.tally.call(H::HOOK).then(Instant::now);
        let away = Away::new(&mut self.exchange, &mut kept.lent, H::HOOK);
        let answer = away.lent.instance().call(hook);
        drop(away);
        charge(&mut kept.lent, time);
        let checked = answer.and_then(|answer| check(answer).map_err(|detail| bad_answer(H::HOOK, detail)));
        Some(self.settled(core, kept, keep, H::HOOK, checked))
    }

    /// Calls a hook, and waits if need be.
    pub(super) async fn call<H: ExchangeHook, T>(
        &mut self,
        plugin: &PluginUse,
        hook: H,
        keep: bool,
        check: impl FnOnce(H::Return) -> Result<T, String>,
    ) -> Called<T> {
        let core = &plugin.core;
        let mut kept = match self.kept(core) {
            Some(kept) => kept,
            None => match self.lend(core).await {
                Ok(kept) => kept,
                Err((pass, fault)) => return Err(self.failed(core, H::HOOK, pass, fault)),
            },
        };
        let time = kept.lent.pool.tally.call(H::HOOK).then(Instant::now);
        // Should the client leave in the middle of the call, this brings the exchange home, and the instance, which is
        // not sound then, is dropped.
        let away = Away::new(&mut self.exchange, &mut kept.lent, H::HOOK);
        let answer = if core.plain {
            away.lent.instance().call(hook)
        } else {
            away.lent.instance().call_on_fiber(hook, core).await
        };
        drop(away);
        charge(&mut kept.lent, time);
        let checked = answer.and_then(|answer| check(answer).map_err(|detail| bad_answer(H::HOOK, detail)));
        self.settled(core, kept, keep, H::HOOK, checked)
    }

    /// Counts and logs that no more may be held of bodies.
    pub(super) fn too_much_held(&self, core: &Core) -> Option<Failure> {
        let detail = format!("bodies that are held have all of limits.body_held ({} bytes)", core.limits.body_held);
        let fault = Fault { hook: Hook::OnRequestComplete, cause: Cause::Capacity, detail };
        self.failed(core, Hook::OnRequestComplete, Pass::Free, fault)
    }

    /// Gives back the instances of all other uses.
    pub(super) fn give_back(&mut self, needed: impl Fn(&Arc<Core>) -> bool) {
        self.kept.retain(|kept| needed(&kept.lent.pool.core));
    }

    fn kept(&mut self, core: &Core) -> Option<Kept> {
        let place = self.kept.iter().position(|kept| kept.lent.pool.core.index == core.index)?;
        Some(self.kept.swap_remove(place))
    }

    fn lend_now(&self, core: &Arc<Core>) -> Option<Result<Kept, (Pass, Fault)>> {
        let pool = self.pools.of(core);
        if pool.is_busy() {
            return None;
        }
        let pass = match passes(core) {
            Ok(pass) => pass,
            Err(refused) => return Some(Err(refused)),
        };
        let lent = match pool.offer() {
            Offer::Warm(lent) => Ok(lent),
            Offer::Room(room) => room.fill().or_else(|fault| match self.after_shedding(&pool, &fault) {
                Some(Offer::Warm(lent)) => Ok(lent),
                Some(Offer::Room(room)) => room.fill(),
                Some(Offer::Busy) | None => Err(fault),
            }),
            Offer::Busy => return None,
        };
        Some(lent.map(|lent| Kept { lent, pass }).map_err(|fault| (pass, fault)))
    }

    async fn lend(&self, core: &Arc<Core>) -> Result<Kept, (Pass, Fault)> {
        let pool = self.pools.of(core);
        let pass = passes(core)?;
        let offer = match pool.offer() {
            Offer::Busy => pool.wait().await,
            offer => Ok(offer),
        };
        let lent = match offer {
            Ok(Offer::Warm(lent)) => Ok(lent),
            Ok(Offer::Room(room)) if core.plain => room.fill(),
            Ok(Offer::Room(room)) => match room.fill_on_fiber().await {
                Ok(lent) => Ok(lent),
                Err(fault) => match self.after_shedding(&pool, &fault) {
                    Some(Offer::Warm(lent)) => Ok(lent),
                    Some(Offer::Room(room)) => room.fill_on_fiber().await,
                    Some(Offer::Busy) | None => Err(fault),
                },
            },
            Ok(Offer::Busy) => Err(pool.exhausted()),
            Err(fault) => Err(fault),
        };
        lent.map(|lent| Kept { lent, pass }).map_err(|fault| (pass, fault))
    }

    /// An instance that its tenant had no memory for gets what idle instances of the same tenant have, if there are any.
    #[cold]
    fn after_shedding(&self, pool: &Rc<Pool>, fault: &Fault) -> Option<Offer> {
        let tenant = pool.core.tenant.as_ref().filter(|_| fault.cause == Cause::Quota)?;
        self.pools.shed(tenant).then(|| pool.offer())
    }

    /// After a call: keeps the instance or lets it go, and says what the call came to.
    fn settled<T>(
        &mut self,
        core: &Arc<Core>,
        mut kept: Kept,
        keep: bool,
        hook: Hook,
        answer: Result<T, Fault>,
    ) -> Called<T> {
        match answer {
            Ok(answer) => {
                if kept.pass == Pass::Probe {
                    recovered(core);
                    kept.pass = Pass::Free;
                }
                if keep {
                    self.kept.push(kept);
                }
                Ok(answer)
            }
            Err(fault) => {
                kept.lent.instance().spoil();
                let pass = kept.pass;
                drop(kept);
                Err(self.failed(core, hook, pass, fault))
            }
        }
    }

    #[cold]
    fn failed(&self, core: &Core, hook: Hook, pass: Pass, mut fault: Fault) -> Option<Failure> {
        if matches!(fault.cause, Cause::Capacity | Cause::Quarantined) {
            fault.hook = hook;
        }
        failed(core, pass, &fault, Some(self.exchange().request_id.as_str()))
    }
}

impl std::fmt::Debug for Hand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hand").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

/// While this lives the exchange is in the instance; when it is dropped, for whatever reason, the exchange is home again.
struct Away<'a> {
    home: &'a mut Option<Box<Exchange>>,
    lent: &'a mut Lent,
}

impl<'a> Away<'a> {
    #[inline]
    fn new(home: &'a mut Option<Box<Exchange>>, lent: &'a mut Lent, hook: Hook) -> Self {
        let exchange = home.take().expect("a call gives it back, however it ends");
        lent.instance().enter(exchange, hook);
        Self { home, lent }
    }
}

impl Drop for Away<'_> {
    #[inline]
    fn drop(&mut self) {
        *self.home = self.lent.instance().leave();
    }
}

#[inline]
pub(super) fn passes(core: &Core) -> Result<Pass, (Pass, Fault)> {
    match core.quarantine.pass() {
        Pass::Refused => {
            let detail = "it is set aside because it kept failing".into();
            Err((Pass::Refused, Fault { hook: Hook::Configure, cause: Cause::Quarantined, detail }))
        }
        pass => Ok(pass),
    }
}

#[cold]
pub(super) fn recovered(core: &Core) {
    core.quarantine.recovered();
    tracing::info!(target: "lockgate::plugin", tenant = core.tenant_name(), plugin = &*core.name, "the plugin is well again and back in service");
}

fn bad_answer(hook: Hook, detail: String) -> Fault {
    Fault { hook, cause: Cause::BadAnswer, detail }
}

/// Notes how long a call took, if it is one of those whose time is taken, and what the tenant owes for it.
#[inline]
pub(super) fn charge(lent: &mut Lent, since: Option<Instant>) {
    let sampled = since.map(|since| since.elapsed());
    if let Some(sampled) = sampled {
        lent.pool.tally.sampled(u64::try_from(sampled.as_nanos()).unwrap_or(u64::MAX));
    }
    if lent.pool.core.tenant.is_some() {
        let computed = lent.instance().computed(sampled);
        if let (Some(tenant), Some(nanos)) = (&lent.pool.core.tenant, computed) {
            tenant.computed(nanos);
        }
    }
}
