//! Hooks that belong to no exchange: a plugin's test of itself, and its state on the way to its successor.

use wasmtime::component::{ComponentNamedList, Lift, Lower, TypedFunc};

use super::super::core::Core;
use super::super::stats::{Cause, Hook};
use super::super::wit::{WitAdmission, WitConnection};
use super::{Fault, Instance, Made, absent, fault, typed};
use crate::config::Tick;
use crate::exchange::Logged;
use crate::recording::Recording;

impl Instance {
    /// Has the plugin test itself, if it can, on the caller's own stack.
    pub(in super::super) fn self_test(&mut self) -> Result<(), Fault> {
        if !self.has(Hook::SelfTest) {
            return Ok(());
        }
        let (answer,) = self.call_apart::<(), (Result<(), String>,)>(Hook::SelfTest, ())?;
        answer.map_err(|why| refusal(Hook::SelfTest, &why))
    }

    /// The same on a stack of its own.
    pub(in super::super) async fn self_test_on_fiber(&mut self, core: &Core) -> Result<(), Fault> {
        if !self.has(Hook::SelfTest) {
            return Ok(());
        }
        let test = self.call_apart_on_fiber::<(), (Result<(), String>,)>(Hook::SelfTest, (), core);
        let (answer,) = test.await?;
        answer.map_err(|why| refusal(Hook::SelfTest, &why))
    }

    /// What it knows, for its successor.
    pub(in super::super) async fn export_state(&mut self, core: &Core) -> Result<Vec<u8>, Fault> {
        let hook = Hook::ExportState;
        let answer = if core.plain {
            self.call_apart::<(), (Vec<u8>,)>(hook, ())
        } else {
            self.call_apart_on_fiber::<(), (Vec<u8>,)>(hook, (), core).await
        };
        answer.map(|(state,)| state)
    }

    /// Tells it what its predecessor knew, on the caller's own stack.
    pub(in super::super) fn import_state(&mut self, state: &[u8]) -> Result<(), Fault> {
        let (answer,) = self.call_apart::<(&[u8],), (Result<(), String>,)>(Hook::ImportState, (state,))?;
        answer.map_err(|why| refusal(Hook::ImportState, &why))
    }

    /// The same on a stack of its own.
    pub(in super::super) async fn import_state_on_fiber(&mut self, state: &[u8], core: &Core) -> Result<(), Fault> {
        let import = self.call_apart_on_fiber::<(&[u8],), (Result<(), String>,)>(Hook::ImportState, (state,), core);
        let (answer,) = import.await?;
        answer.map_err(|why| refusal(Hook::ImportState, &why))
    }

    /// Exchanges what is recorded of a call that belongs to no exchange: it is given before, and taken after.
    pub(in super::super) fn record_apart(&mut self, recording: &mut Option<Box<Recording>>) {
        std::mem::swap(&mut self.store.data_mut().recording, recording);
    }

    /// Whether a connection may be.
    pub(in super::super) async fn on_connect(&mut self, connection: WitConnection, core: &Core) -> Result<bool, Fault> {
        let hook = Hook::OnConnect;
        self.store.data_mut().logged = Logged::default();
        let answer = if core.plain {
            self.call_apart::<(WitConnection,), (WitAdmission,)>(hook, (connection,))
        } else {
            self.call_apart_on_fiber::<(WitConnection,), (WitAdmission,)>(hook, (connection,), core).await
        };
        answer.map(|(admission,)| matches!(admission, WitAdmission::Accept))
    }

    /// Lets the plugin do its work in the background, within limits of its own.
    pub(in super::super) async fn on_tick(&mut self, tick: &Tick) -> Result<(), Fault> {
        let hook = Hook::OnTick;
        let function = self.enter_apart::<(), ()>(hook)?;
        let host = self.store.data_mut();
        host.may_compute(tick.cpu);
        host.logged = Logged::default();
        let turn = host.turn();
        let call = function.call_async(&mut self.store, ());
        let answer = self.wall.bound(tick.wall, turn.as_deref(), call).await;
        self.left_apart(hook, answer)
    }

    fn has(&self, hook: Hook) -> bool {
        self.store.data().core.compiled.hooks.set.has(hook)
    }

    fn call_apart<P, R>(&mut self, hook: Hook, params: P) -> Result<R, Fault>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let function = self.enter_apart::<P, R>(hook)?;
        let answer = function.call(&mut self.store, params);
        self.left_apart(hook, answer)
    }

    async fn call_apart_on_fiber<P, R>(&mut self, hook: Hook, params: P, core: &Core) -> Result<R, Fault>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        let function = self.enter_apart::<P, R>(hook)?;
        let turn = self.store.data().turn();
        let call = function.call_async(&mut self.store, params);
        let answer = self.wall.bound(core.limits.wall, turn.as_deref(), call).await;
        self.left_apart(hook, answer)
    }

    fn enter_apart<P, R>(&mut self, hook: Hook) -> Result<TypedFunc<P, R>, Fault>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.sound = false;
        let compiled = self.store.data().core.compiled.clone();
        let Made::Component(made, _) = &self.made else { return Err(absent(hook)) };
        let found = typed::<P, R>(&mut self.store, &compiled.hooks, made, hook);
        let function = found.map_err(|error| fault(&self.store, hook, &error))?.ok_or_else(|| absent(hook))?;
        self.store.data_mut().starts(hook);
        self.store.set_epoch_deadline(1);
        Ok(function)
    }

    fn left_apart<R>(&mut self, hook: Hook, answer: wasmtime::Result<R>) -> Result<R, Fault> {
        self.store.data_mut().ends();
        match answer {
            Ok(answer) => {
                self.sound = true;
                Ok(answer)
            }
            Err(error) => Err(fault(&self.store, hook, &error)),
        }
    }
}

fn refusal(hook: Hook, why: &str) -> Fault {
    Fault { hook, cause: Cause::BadAnswer, detail: format!("{} says: {why}", hook.name()) }
}
