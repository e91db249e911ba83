//! What was measured, for people and for programs.

use std::fmt;

use serde::Serialize;

use crate::plugin::{Hook, PluginUse};

/// What was measured of one plugin. Times are nanoseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Bytes of the component.
    pub size_bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// From the component's bytes to a plugin that has been shown to work, with nothing cached.
    pub compile_nanos: u64,
    /// What an exchange costs more with an instance of its own than with a warm one: making it, configuring it, its end.
    pub fresh_nanos: f64,
    /// All hooks of an exchange, with what the host does for them, on a stack of its own; none if that was not measured.
    pub exchange_nanos: Option<f64>,
    /// The same on the worker's stack.
    pub exchange_on_workers_stack_nanos: Option<f64>,
    /// Each hook that was called.
    pub hooks: Vec<HookFigures>,
    /// One instance's memory.
    pub memory: Memory,
    /// What the clock takes that is held beside each call; it has been taken off `call`.
    pub wall_clock_nanos: f64,
    /// The same of the clock for the longest calls, taken off `worst`.
    pub cpu_clock_nanos: f64,
    /// Medians are of so many batches ...
    pub batches: u64,
    /// ... of so many exchanges each.
    pub batch: u64,
    /// The longest call is one of so many.
    pub worst_of: u64,
    /// Whether the host was built for speed. If not, its part of each figure says nothing.
    pub optimized: bool,
}

/// A hook's calls on a warm instance.
#[derive(Debug, Clone, Serialize)]
pub struct HookFigures {
    /// As in WIT.
    pub hook: &'static str,
    /// On a stack of its own, as with `limits.cpu` above 1 ms.
    pub own_stack: Option<Call>,
    /// On the worker's stack, as with `limits.cpu` of 1 ms; none if the plugin imports what waits.
    pub workers_stack: Option<Call>,
}

/// Calls of one hook in one manner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Call {
    /// One, in the median of all batches.
    pub nanos: f64,
    /// The longest, in CPU time.
    pub worst_nanos: u64,
}

/// Linear memory of one instance.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// After its first exchanges.
    pub first_bytes: usize,
    /// After the last.
    pub bytes: usize,
    /// So many they were.
    pub exchanges: u64,
    /// Instances that it took; more than one: it grew so much that it was replaced.
    pub instances: u64,
}

impl Figures {
    pub(super) fn new(used: &PluginUse, size_bytes: u64, wall_clock_nanos: f64, cpu_clock_nanos: f64) -> Self {
        Self {
            size_bytes,
            sha256: used.digest(),
            wall_clock_nanos,
            cpu_clock_nanos,
            optimized: !cfg!(debug_assertions),
            ..Self::default()
        }
    }

    pub(super) fn put(&mut self, hook: Hook, on_workers_stack: bool, call: Call) {
        let hook = hook.name();
        let place = self.hooks.iter().position(|known| known.hook == hook).unwrap_or_else(|| {
            self.hooks.push(HookFigures { hook, own_stack: None, workers_stack: None });
            self.hooks.len() - 1
        });
        let known = &mut self.hooks[place];
        let manner = if on_workers_stack { &mut known.workers_stack } else { &mut known.own_stack };
        *manner = Some(call);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = &self.memory;
        writeln!(out, "  size        {}", Bytes(self.size_bytes))?;
        writeln!(out, "  compile     {}", Nanos(self.compile_nanos as f64))?;
        writeln!(out, "  fresh       {}", Nanos(self.fresh_nanos))?;
        write!(out, "  memory      {} after {} exchanges", Bytes(memory.bytes as u64), Count(memory.exchanges))?;
        match memory.instances {
            0 | 1 => writeln!(out, ", {} after the first {}", Bytes(memory.first_bytes as u64), super::WARM_UP)?,
            more => writeln!(out, " and {more} instances: they grew and were replaced")?,
        }
        let exchange = [self.exchange_nanos, self.exchange_on_workers_stack_nanos].map(cell);
        let mut rows = vec![["own stack", "worst", "worker's stack", "worst"].map(str::to_owned)];
        let mut names = vec![""];
        for hook in &self.hooks {
            let manner = |call: Option<Call>| {
                [cell(call.map(|call| call.nanos)), cell(call.map(|call| call.worst_nanos as f64))]
            };
            let ([own, own_worst], [workers, workers_worst]) = (manner(hook.own_stack), manner(hook.workers_stack));
            names.push(hook.hook);
            rows.push([own, own_worst, workers, workers_worst]);
        }
        let [own, workers] = exchange;
        names.push("whole exchange");
        rows.push([own, String::new(), workers, String::new()]);
        writeln!(out)?;
        for (name, [own, own_worst, workers, workers_worst]) in names.iter().zip(rows) {
            let row = format!("  {name:<20}{own:>12}{own_worst:>12}{workers:>16}{workers_worst:>12}");
            writeln!(out, "{}", row.trim_end())?;
        }
        writeln!(
            out,
            "\n  Medians of {} batches of {} calls, {:.0} ns for the clock taken off each; worst of {} in CPU time.",
            self.batches,
            self.batch,
            self.wall_clock_nanos,
            Count(self.worst_of)
        )?;
        writeln!(out, "  Lines that it logs are not written. Own stack: limits.cpu above 1ms; worker's: 1ms or less.")?;
        if !self.optimized {
            writeln!(out, "  THIS HOST IS A DEBUG BUILD: its part of each call is many times too slow.")?;
        }
        Ok(())
    }
}

fn cell(nanos: Option<f64>) -> String {
    nanos.map_or_else(|| "-".to_owned(), |nanos| Nanos(nanos).to_string())
}

/// A time with three digits that count.
pub(super) struct Nanos(pub(super) f64);

impl fmt::Display for Nanos {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            nanos if nanos < 1e3 => return write!(out, "{nanos:.0} ns"),
            nanos if nanos < 1e6 => (nanos / 1e3, "us"),
            nanos if nanos < 1e9 => (nanos / 1e6, "ms"),
            nanos => (nanos / 1e9, "s"),
        };
        let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        write!(out, "{value:.digits$} {unit}")
    }
}

/// A size.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes < 10 << 10 => write!(out, "{bytes} B"),
            bytes if bytes < 1 << 20 => write!(out, "{:.1} KiB", bytes as f64 / 1024.0),
            bytes => write!(out, "{:.1} MiB", bytes as f64 / (1024.0 * 1024.0)),
        }
    }
}

/// A number with its thousands apart.
struct Count(u64);

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut apart = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                apart.push(' ');
            }
            apart.push(digit);
        }
        out.write_str(&apart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_with_the_digits_that_count() {
        let shown = [0.4, 612.3, 1234.0, 12_345.0, 123_456.0, 2.5e6, 3e9].map(|nanos| Nanos(nanos).to_string());
        assert_eq!(shown, ["0 ns", "612 ns", "1.23 us", "12.3 us", "123 us", "2.50 ms", "3.00 s"]);
        let shown = [0, 10_239, 65_536, 20 << 20].map(|bytes| Bytes(bytes).to_string());
        assert_eq!(shown, ["0 B", "10239 B", "64.0 KiB", "20.0 MiB"]);
        assert_eq!([7, 1000, 300_000, 1_234_567].map(|n| Count(n).to_string()), ["7", "1 000", "300 000", "1 234 567"]);
    }
}
