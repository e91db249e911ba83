//! What a plugin may cost: a file that a check holds the figures against.

use std::path::Path;
use std::time::Duration;

use super::figures::{Bytes, Call, Figures, Nanos};
use crate::config::reader::{Mistake, Table, Value};
use crate::config::{Problems, nearest, read, read_with};
use crate::plugin::Hook;

/// What a plugin may cost at most. What is not said is not checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Budget {
    size: Option<u64>,
    compile: Option<Duration>,
    fresh: Option<Duration>,
    exchange: Option<Duration>,
    memory: Option<u64>,
    growth: Option<u64>,
    hooks: Vec<(Hook, CallBudget)>,
}

/// What the calls of one hook may cost at most.
#[derive(Debug, Clone, Default, PartialEq)]
struct CallBudget {
    call: Option<Duration>,
    own_stack: Option<Duration>,
    workers_stack: Option<Duration>,
    worst: Option<Duration>,
}

impl Budget {
    /// Reads a budget.
    ///
    /// # Errors
    /// All that is wrong with it, or why it cannot be read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let source = read(path)?;
        let (budget, problems) = read_with(&source, Self::read);
        problems.into_result()?;
        Ok(budget.unwrap_or_default())
    }

    fn read(mut root: Table<'_, '_>) -> Self {
        let budget = Self {
            size: root.optional("size", size),
            compile: root.optional("compile", time),
            fresh: root.optional("fresh", time),
            exchange: root.optional("exchange", time),
            memory: root.optional("memory", size),
            growth: root.optional("growth", size),
            hooks: root.optional("hook", Value::named).map(hooks).unwrap_or_default(),
        };
        root.finish();
        budget
    }

    /// What is over it, one sentence each: `hook.on-request.call is 1.23 us, more than the 1.00 us of the budget`.
    #[must_use]
    pub fn exceeded(&self, figures: &Figures) -> Vec<String> {
        let mut over = Over(Vec::new());
        over.bytes("size", figures.size_bytes, self.size);
        over.time("compile", figures.compile_nanos as f64, self.compile);
        over.time("fresh", figures.fresh_nanos, self.fresh);
        if let Some(exchange) = figures.exchange_on_workers_stack_nanos.or(figures.exchange_nanos) {
            over.time("exchange", exchange, self.exchange);
        }
        let memory = &figures.memory;
        over.bytes("memory", memory.bytes as u64, self.memory);
        over.bytes("growth", memory.bytes.saturating_sub(memory.first_bytes) as u64, self.growth);
        if self.growth.is_some() && memory.instances > 1 {
            let sentence = "growth is more than that of the budget: an instance grew so much that it was replaced";
            over.0.push(sentence.to_owned());
        }
        for (hook, budget) in &self.hooks {
            let name = hook.name();
            let Some(measured) = figures.hooks.iter().find(|measured| measured.hook == name) else {
                over.0.push(format!("hook.{name} was not called, so that its budget says nothing"));
                continue;
            };
            let best = measured.workers_stack.or(measured.own_stack);
            over.call(name, "call", best, budget.call);
            over.call(name, "own_stack", measured.own_stack, budget.own_stack);
            over.call(name, "workers_stack", measured.workers_stack, budget.workers_stack);
            let worst = best.map(|call| call.worst_nanos as f64);
            over.time(&format!("hook.{name}.worst"), worst.unwrap_or_default(), budget.worst);
        }
        over.0
    }
}

struct Over(Vec<String>);

impl Over {
    fn time(&mut self, what: &str, nanos: f64, most: Option<Duration>) {
        if let Some(most) = most.map(|most| most.as_nanos() as f64).filter(|most| nanos > *most) {
            self.0.push(format!("{what} is {}, more than the {} of the budget", Nanos(nanos), Nanos(most)));
        }
    }

    fn bytes(&mut self, what: &str, bytes: u64, most: Option<u64>) {
        if let Some(most) = most.filter(|most| bytes > *most) {
            self.0.push(format!("{what} is {}, more than the {} of the budget", Bytes(bytes), Bytes(most)));
        }
    }

    fn call(&mut self, hook: &str, manner: &str, call: Option<Call>, most: Option<Duration>) {
        match call {
            Some(call) => self.time(&format!("hook.{hook}.{manner}"), call.nanos, most),
            None if most.is_some() => {
                self.0.push(format!("hook.{hook}.{manner} cannot be had: the plugin imports what waits"));
            }
            None => {}
        }
    }
}

fn hooks(table: Table<'_, '_>) -> Vec<(Hook, CallBudget)> {
    let problems = table.problems();
    let entry = |(key, value): (crate::config::Located<String>, Value<'_, '_>)| {
        let names = || Hook::ALL.into_iter().filter(|hook| hook.is_of_exchange()).map(Hook::name);
        let hook = Hook::ALL.into_iter().find(|hook| hook.is_of_exchange() && hook.name() == key.value);
        if hook.is_none() {
            let mistake = Mistake::new(format!("{:?} is not a hook of an exchange", key.value));
            let mistake = match nearest(&key.value, names()) {
                Some(near) => mistake.hint(format!("did you mean {near:?}?")),
                None => mistake.hint(format!("the hooks are {}", names().collect::<Vec<_>>().join(", "))),
            };
            mistake.report(&key.at, &mut problems.borrow_mut());
        }
        let mut table = value.table()?;
        let budget = CallBudget {
            call: table.optional("call", time),
            own_stack: table.optional("own_stack", time),
            workers_stack: table.optional("workers_stack", time),
            worst: table.optional("worst", time),
        };
        table.finish();
        hook.map(|hook| (hook, budget))
    };
    table.into_entries().filter_map(entry).collect()
}

fn time(value: Value<'_, '_>) -> Option<Duration> {
    value.duration(Duration::from_nanos(1)..=Duration::from_secs(3600))
}

fn size(value: Value<'_, '_>) -> Option<u64> {
    value.size(0..=1 << 40)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::figures::{HookFigures, Memory};
    use super::*;

    fn budget(text: &str) -> Result<Budget, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget.toml");
        std::fs::write(&path, text).unwrap();
        Budget::load(&path)
            .map_err(|problems| problems.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    fn figures() -> Figures {
        Figures {
            size_bytes: 41 << 10,
            compile_nanos: 200_000_000,
            fresh_nanos: 12_000.0,
            exchange_nanos: Some(2000.0),
            memory: Memory { first_bytes: 1 << 20, bytes: 2 << 20, exchanges: 300_000, instances: 1 },
            hooks: vec![HookFigures {
                hook: "on-request",
                own_stack: Some(Call { nanos: 900.0, worst_nanos: 50_000 }),
                workers_stack: None,
            }],
            ..Figures::default()
        }
    }

    #[test]
    fn what_is_over_the_budget_is_named_and_nothing_else() {
        let generous = budget(
            "size = \"64 KiB\"\ncompile = \"1s\"\nfresh = \"20us\"\nexchange = \"3us\"\nmemory = \"2 MiB\"\n\
             growth = \"1 MiB\"\n[hook.on-request]\ncall = \"1us\"\nworst = \"1ms\"\n",
        );
        assert_eq!(generous.unwrap().exceeded(&figures()), Vec::<String>::new());
        let strict = budget(
            "size = \"40 KiB\"\ncompile = \"100ms\"\nfresh = \"10us\"\nexchange = \"1us\"\nmemory = \"1 MiB\"\n\
             growth = 0\n[hook.on-request]\ncall = \"500ns\"\nworkers_stack = \"500ns\"\nworst = \"10us\"\n\
             [hook.on-response]\ncall = \"1us\"\n",
        );
        assert_eq!(
            strict.unwrap().exceeded(&figures()),
            [
                "size is 41.0 KiB, more than the 40.0 KiB of the budget",
                "compile is 200 ms, more than the 100 ms of the budget",
                "fresh is 12.0 us, more than the 10.0 us of the budget",
                "exchange is 2.00 us, more than the 1.00 us of the budget",
                "memory is 2.0 MiB, more than the 1.0 MiB of the budget",
                "growth is 1.0 MiB, more than the 0 B of the budget",
                "hook.on-request.call is 900 ns, more than the 500 ns of the budget",
                "hook.on-request.workers_stack cannot be had: the plugin imports what waits",
                "hook.on-request.worst is 50.0 us, more than the 10.0 us of the budget",
                "hook.on-response was not called, so that its budget says nothing",
            ]
        );
    }

    #[test]
    fn a_mistake_in_a_budget_has_its_place() {
        let problems = budget("sise = 1\nfresh = 12\n[hook.on-reqest]\ncall = \"1us\"\n").unwrap_err();
        assert_eq!(
            problems,
            "budget.toml:1:1: sise: unknown key \"sise\"\n  help: did you mean `size`?\n\
             budget.toml:2:9: fresh: a duration needs a unit\n  help: write \"12s\" for seconds, or \"12ms\" for milliseconds\n\
             budget.toml:3:7: hook.on-reqest: \"on-reqest\" is not a hook of an exchange\n  help: did you mean \"on-request\"?\n\
             3 problems"
        );
    }
}
