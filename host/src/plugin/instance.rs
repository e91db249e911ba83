//! One instance of a component: its store, its hooks, and calls that end.

mod apart;
mod wall;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wasmtime::component::{Instance as WasmInstance, TypedFunc};
use wasmtime::{PoolConcurrencyLimitError, Store};

use self::wall::{OutOfTime, Wall};
use super::component::{Hooks, one_line};
use super::core::{Core, SHORTEST_PROOF};
use super::direct::{self, Configure, Direct};
use super::grants::Reach;
use super::hooks::{ExchangeHook, Functions, typed};
use super::host::{Host, OutOfCpu, Refused, TooManyHostCalls};
use super::stats::{Cause, Hook, SAMPLE};
use super::wit::{WitAdmission, WitConnection};
use crate::exchange::Exchange;

/// One instance. It is lent to one exchange at a time.
pub(super) struct Instance {
    store: Store<Host>,
    made: Made,
    wall: Wall,
    /// False from the start of a call until its good end: a trap, a deadline or a client who leaves in the middle of a
    /// call leave behind what must not be used again.
    sound: bool,
    /// Exchanges that it has served.
    pub(super) exchanges: u64,
    /// How many of them it may serve, and how large its memory may be, before another takes its place.
    worn_at: (u64, usize),
}

/// What was instantiated, with its hooks.
enum Made {
    /// By the runtime of components.
    Component(WasmInstance, Functions),
    /// Its core module alone.
    Direct(Box<direct::Functions>),
}

/// A failed call: the cause, and a sentence.
#[derive(Debug)]
pub(super) struct Fault {
    /// What was called: `configure` when not even an instance could be had.
    pub(super) hook: Hook,
    pub(super) cause: Cause,
    pub(super) detail: String,
}

impl Instance {
    /// A new, configured instance, on the caller's own stack: for plugins whose budget is so short that a worker can stall
    /// for it, and for the proof that a plugin works, which no worker makes.
    pub(super) fn new_plain(core: &Arc<Core>) -> Result<Self, Fault> {
        Self::new_plain_within(core, core.limits.cpu.max(SHORTEST_BIRTH))
    }

    fn new_plain_within(core: &Arc<Core>, cpu: Duration) -> Result<Self, Fault> {
        if let Some(direct) = core.compiled.direct() {
            return Self::new_direct(core, direct, cpu);
        }
        let mut store = store(core, false);
        store.data_mut().may_compute(cpu);
        let made = core.compiled.pre.instantiate(&mut store);
        let made = made.and_then(|made| Born::find(&mut store, &core.compiled.hooks, made));
        let born = made.map_err(|error| fault(&store, Hook::Configure, &error))?;
        let answer = match born.configure {
            Some(configure) => configure.call(&mut store, (&core.config,)).map(|(answer,)| answer),
            None => Ok(Ok(())),
        };
        Self::configured_component(core, store, (born.made, born.functions), answer)
    }

    fn new_direct(core: &Arc<Core>, direct: &Direct, cpu: Duration) -> Result<Self, Fault> {
        let mut store = store(core, false);
        store.data_mut().may_compute(cpu);
        let functions = direct.instantiate(&mut store).map_err(|error| fault(&store, Hook::Configure, &error))?;
        let configure = Configure(&core.config);
        let answer = if functions.has::<Configure<'_>>() { functions.call(&mut store, &configure) } else { Ok(Ok(())) };
        Self::configured(store, Made::Direct(Box::new(functions)), answer)
    }

    /// A new, configured instance, on a stack of its own, so that the worker can put it aside.
    pub(super) async fn new_on_fiber(core: &Arc<Core>) -> Result<Self, Fault> {
        Self::new_on_fiber_within(core, core.limits.cpu.max(SHORTEST_BIRTH)).await
    }

    async fn new_on_fiber_within(core: &Arc<Core>, cpu: Duration) -> Result<Self, Fault> {
        let mut store = store(core, true);
        store.data_mut().may_compute(cpu);
        if let Some(direct) = core.compiled.direct() {
            return Self::new_direct_on_fiber(core, direct, store).await;
        }
        let (mut wall, turn) = (Wall::new(store.data().meter()), store.data().turn());
        let made = wall.bound(core.limits.wall, turn.as_deref(), core.compiled.pre.instantiate_async(&mut store)).await;
        let made = made.and_then(|made| Born::find(&mut store, &core.compiled.hooks, made));
        let born = made.map_err(|error| fault(&store, Hook::Configure, &error))?;
        let answer = match born.configure {
            Some(configure) => {
                let call = configure.call_async(&mut store, (&core.config,));
                wall.bound(core.limits.wall, turn.as_deref(), call).await.map(|(answer,)| answer)
            }
            None => Ok(Ok(())),
        };
        Self::configured_component(core, store, (born.made, born.functions), answer)
    }

    async fn new_direct_on_fiber(core: &Arc<Core>, direct: &Direct, mut store: Store<Host>) -> Result<Self, Fault> {
        let (mut wall, turn) = (Wall::new(store.data().meter()), store.data().turn());
        let made = wall.bound(core.limits.wall, turn.as_deref(), direct.instantiate_async(&mut store)).await;
        let functions = made.map_err(|error| fault(&store, Hook::Configure, &error))?;
        let answer = if functions.has::<Configure<'_>>() {
            let configure = Configure(&core.config);
            wall.bound(core.limits.wall, turn.as_deref(), functions.call_async(&mut store, &configure)).await
        } else {
            Ok(Ok(()))
        };
        Self::configured(store, Made::Direct(Box::new(functions)), answer)
    }

    /// Makes an instance only to see that it can be made, and has it test itself. Not on a worker.
    pub(super) fn new_as_proof(core: &Arc<Core>) -> Result<(), Fault> {
        if !core.compiled.waits {
            // Nobody waits for it, and the machine may be busy with a start or a reload.
            return Self::new_plain_within(core, core.limits.cpu.max(SHORTEST_PROOF))?.self_test();
        }
        let prove = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let no_runtime = |error| {
                let detail = format!("the host has no runtime to try it on: {error}");
                Fault { hook: Hook::Configure, cause: Cause::Capacity, detail }
            };
            runtime.map_err(no_runtime)?.block_on(async {
                Self::new_on_fiber_within(core, core.limits.cpu.max(SHORTEST_PROOF))
                    .await?
                    .self_test_on_fiber(core)
                    .await
            })
        };
        // A thread of its own, because the caller's may have a runtime already, which is not for waiting in.
        thread::scope(|scope| match scope.spawn(prove).join() {
            Ok(proved) => proved,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Of an instance that the runtime of components made. Whether the next can do without is found out only now: what that
    /// takes is not the guest's.
    fn configured_component(
        core: &Core,
        store: Store<Host>,
        (made, functions): (WasmInstance, Functions),
        answer: wasmtime::Result<Result<(), String>>,
    ) -> Result<Self, Fault> {
        let mut instance = Self::configured(store, Made::Component(made, functions), answer)?;
        core.compiled.find_direct(&mut instance.store, &made);
        Ok(instance)
    }

    fn configured(
        mut store: Store<Host>,
        made: Made,
        answer: wasmtime::Result<Result<(), String>>,
    ) -> Result<Self, Fault> {
        // There is no exchange to be taken back, but what it has written is to be logged.
        let _ = store.data_mut().ends();
        let refusal = match answer {
            Ok(Ok(())) => {
                let host = store.data_mut();
                // Its birth may have had more.
                host.may_compute(host.core.limits.cpu);
                let limits = &host.core.limits;
                let worn_at = (limits.exchanges, host.memory.used + limits.memory / 2);
                let wall = Wall::new(host.meter());
                return Ok(Self { store, made, wall, sound: true, exchanges: 0, worn_at });
            }
            Ok(Err(refusal)) => refusal,
            Err(error) => return Err(fault(&store, Hook::Configure, &error)),
        };
        Err(Fault { hook: Hook::Configure, cause: Cause::BadAnswer, detail: format!("configure says: {refusal}") })
    }

    /// Opens the ways to the outside. What a plugin does in `configure` must not depend on it.
    pub(super) fn may_reach(&mut self, reach: Arc<Reach>) {
        self.store.data_mut().reach = Some(reach);
    }

    /// Whether it may be used again.
    pub(super) fn is_sound(&self) -> bool {
        self.sound
    }

    /// It gave an answer that cannot be, so who knows what else is wrong with it.
    pub(super) fn spoil(&mut self) {
        self.sound = false;
    }

    /// Bytes of its linear memories.
    pub(super) fn memory(&self) -> usize {
        self.store.data().memory.used
    }

    /// Whether it has served long enough.
    pub(super) fn is_worn(&self) -> bool {
        let (exchanges, memory) = self.worn_at;
        self.exchanges >= exchanges || self.memory() > memory
    }

    /// Gives it the exchange, for a call of that hook.
    #[inline]
    pub(super) fn enter(&mut self, exchange: Box<Exchange>, hook: Hook) {
        self.sound = false;
        let host = self.store.data_mut();
        host.exchange = Some(exchange);
        host.starts(hook);
        self.store.set_epoch_deadline(1);
    }

    /// Takes the exchange back, whatever became of the call.
    #[inline]
    pub(super) fn leave(&mut self) -> Option<Box<Exchange>> {
        self.store.data_mut().ends()
    }

    /// Nanoseconds that the call which has just ended has computed. `sampled` is how long it took, for one call in
    /// [`SAMPLE`]; of short calls, no other is charged.
    pub(super) fn computed(&self, sampled: Option<Duration>) -> Option<u64> {
        let computed = self.store.data().computed();
        let computed = computed.or_else(|| Some(sampled?.min(LONGEST_SHORT_CALL) * u32::try_from(SAMPLE).ok()?))?;
        u64::try_from(computed.as_nanos()).ok()
    }

    /// Calls a hook on the worker's own stack.
    #[inline]
    pub(super) fn call<H: ExchangeHook>(&mut self, hook: H) -> Result<H::Return, Fault> {
        let answer = match &self.made {
            Made::Direct(functions) => functions.call(&mut self.store, &hook),
            Made::Component(_, functions) => match H::component_function(functions, &self.store) {
                Some(function) => function.call(&mut self.store, hook.params()),
                None => return Err(absent(H::HOOK)),
            },
        };
        match answer {
            Ok(answer) => {
                self.sound = true;
                Ok(answer)
            }
            Err(error) => Err(fault(&self.store, H::HOOK, &error)),
        }
    }

    /// Calls a hook on a stack of its own: the worker goes on with other work at every tick, and when the guest waits.
    pub(super) async fn call_on_fiber<H: ExchangeHook>(&mut self, hook: H, core: &Core) -> Result<H::Return, Fault> {
        let turn = self.store.data().turn();
        let answer = match &self.made {
            Made::Direct(functions) => {
                self.wall.bound(core.limits.wall, turn.as_deref(), functions.call_async(&mut self.store, &hook)).await
            }
            Made::Component(_, functions) => {
                let Some(function) = H::component_function(functions, &self.store) else { return Err(absent(H::HOOK)) };
                let call = function.call_async(&mut self.store, hook.params());
                self.wall.bound(core.limits.wall, turn.as_deref(), call).await
            }
        };
        match answer {
            Ok(answer) => {
                self.sound = true;
                Ok(answer)
            }
            Err(error) => Err(fault(&self.store, H::HOOK, &error)),
        }
    }
}

/// What has just been instantiated.
struct Born<'a> {
    made: WasmInstance,
    functions: Functions,
    configure: Option<ComponentConfigure<'a>>,
}

type ComponentConfigure<'a> = TypedFunc<(&'a String,), (Result<(), String>,)>;

impl Born<'_> {
    /// Finds the hooks, and checks that their types are the contract's.
    fn find(store: &mut Store<Host>, hooks: &Hooks, made: WasmInstance) -> wasmtime::Result<Self> {
        let functions = Functions::find(store, hooks, &made)?;
        let configure = typed(store, hooks, &made, Hook::Configure)?;
        typed::<(), ()>(store, hooks, &made, Hook::OnTick)?;
        typed::<(WitConnection,), (WitAdmission,)>(store, hooks, &made, Hook::OnConnect)?;
        Ok(Self { made, functions, configure })
    }
}

fn store(core: &Arc<Core>, yields: bool) -> Store<Host> {
    let mut store = Store::new(core.compiled.pre.engine(), Host::new(core.clone(), yields));
    store.limiter(|host| &mut host.memory);
    // What a guest hands over in one call is copied here, and can be handed over many times in one list.
    store.set_hostcall_fuel(HANDED_OVER);
    store.epoch_deadline_callback(|mut cx| cx.data_mut().tick());
    // Start functions run before `configure`, within the same budget.
    store.data_mut().starts(Hook::Configure);
    store.set_epoch_deadline(1);
    store
}

fn fault(store: &Store<Host>, hook: Hook, error: &wasmtime::Error) -> Fault {
    let cause = if error.is::<OutOfCpu>() {
        Cause::Cpu
    } else if error.is::<OutOfTime>() {
        Cause::Wall
    } else if error.is::<PoolConcurrencyLimitError>() {
        Cause::Capacity
    } else if error.is::<TooManyHostCalls>() {
        Cause::HostCalls
    } else {
        match store.data().memory.refused {
            Some(Refused::Memory) => Cause::Memory,
            Some(Refused::Table) => Cause::Table,
            Some(Refused::TenantMemory) => Cause::Quota,
            None => Cause::Trap,
        }
    };
    let detail = match cause {
        Cause::Quota => format!("its tenant has all of quotas.memory ({})", one_line(error)),
        Cause::Memory => format!("it wanted more memory than limits.memory ({})", one_line(error)),
        Cause::Cpu | Cause::Wall if hook == Hook::OnTick => one_line(error).replace("limits.", "tick."),
        Cause::Table => format!("it wanted larger tables than limits.table ({})", one_line(error)),
        _ => one_line(error),
    };
    Fault { hook, cause, detail }
}

fn absent(hook: Hook) -> Fault {
    Fault { hook, cause: Cause::Trap, detail: format!("it does not export {}", hook.name()) }
}

/// A call that met no tick was no longer than that, whatever it waited for.
const LONGEST_SHORT_CALL: Duration = Duration::from_millis(1);

/// What making an instance may compute on a worker, however little its calls may: its memory is touched for the first time.
const SHORTEST_BIRTH: Duration = Duration::from_millis(2);

/// Bytes that a guest may hand over in one call.
pub(super) const HANDED_OVER: usize = 1 << 20;
