//! Lines on their way to a file or a pipe: collected by the threads that make them, written by a thread of its own.
//!
//! A thread that makes lines never waits for the system that takes them. It appends to a buffer of its own, its *lane*; the
//! writer empties all lanes a moment after the first line, or sooner when one fills up. What finds its lane full, or the
//! system unwilling, is dropped and counted.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::output::Output;
use crate::metrics::LogCounts;

/// The way to a writer. The writer ends when this is closed or dropped.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
}

/// How a spool behaves.
pub struct Settings {
    /// Of the writer's thread.
    pub name: &'static str,
    /// How long the writer waits for company for the first line.
    pub delay: Duration,
    /// Where lines are counted.
    pub counts: Counts,
    /// Told when the system begins to refuse lines, and when it takes them again.
    pub report: fn(Trouble<'_>),
}

/// Where lines are counted.
#[derive(Debug, Clone)]
pub enum Counts {
    /// With the metrics of a server.
    Shared(Arc<LogCounts>),
    /// For the whole process.
    Process(&'static LogCounts),
}

/// What happened to a writer.
#[derive(Debug)]
pub enum Trouble<'a> {
    /// The system refuses lines.
    Began(&'a io::Error),
    /// The system takes lines again.
    Ended,
}

/// One thread's lines for one spool.
#[derive(Debug, Default)]
struct Lane {
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    count: u64,
}

struct Shared {
    id: u64,
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// Bytes that one lane may hold.
    share: AtomicUsize,
    /// `IDLE`, `SOON` or `NOW`.
    signal: AtomicU8,
    writer: OnceLock<Thread>,
    /// What is to be written to from now on.
    next: Mutex<Option<Output>>,
    stage: Mutex<Stage>,
    stage_changed: Condvar,
    settings: Settings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Closing,
    Closed,
}

impl Spool {
    /// Starts a writer to `output`.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn start(output: Output, settings: Settings) -> io::Result<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let name = settings.name;
        let shared = Arc::new(Shared {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            lanes: Mutex::default(),
            share: AtomicUsize::new(TOTAL),
            signal: AtomicU8::new(IDLE),
            writer: OnceLock::new(),
            next: Mutex::default(),
            stage: Mutex::new(Stage::Open),
            stage_changed: Condvar::new(),
            settings,
        });
        let for_writer = shared.clone();
        let writer = thread::Builder::new().name(name.to_owned()).spawn(move || write_all(&for_writer, output))?;
        shared.writer.get_or_init(|| writer.thread().clone());
        Ok(Self { shared })
    }

    /// Queues what `make` appends, which must be one line with its end; drops it if this thread's lane is full. `make` must
    /// not log.
    pub fn line(&self, make: impl FnOnce(&mut Vec<u8>)) {
        let queued = LANES.try_with(|lanes| {
            let mut lanes = lanes.try_borrow_mut().ok()?;
            let place = lanes.iter().position(|(id, _)| *id == self.shared.id);
            let place = place.unwrap_or_else(|| self.new_lane(&mut lanes));
            self.append(&lanes[place].1, make);
            Some(())
        });
        // A thread that is ending has no lanes any more.
        if !matches!(queued, Ok(Some(()))) {
            self.shared.settings.counts.dropped(1);
        }
    }

    /// Writes to `output` from the next batch on.
    pub fn redirect(&self, output: Output) {
        *lock(&self.shared.next) = Some(output);
        self.shared.wake(NOW);
    }

    /// Writes what is queued and ends the writer. Waits for that no longer than `limit`, and says whether it came to pass.
    /// Later lines are dropped.
    pub fn close(&self, limit: Duration) -> bool {
        self.begin_close();
        let stage = lock(&self.shared.stage);
        let waited = self.shared.stage_changed.wait_timeout_while(stage, limit, |stage| *stage != Stage::Closed);
        *waited.unwrap_or_else(PoisonError::into_inner).0 == Stage::Closed
    }

    fn begin_close(&self) {
        let mut stage = lock(&self.shared.stage);
        if *stage == Stage::Open {
            *stage = Stage::Closing;
        }
        drop(stage);
        self.shared.wake(NOW);
    }

    #[cold]
    fn new_lane(&self, lanes: &mut Lanes) -> usize {
        // Lanes of spools that are gone are nobody's but ours.
        lanes.retain(|(_, lane)| Arc::strong_count(lane) > 1);
        let lane = Arc::new(Lane::default());
        lanes.push((self.shared.id, lane.clone()));
        self.shared.add(lane);
        lanes.len() - 1
    }

    fn append(&self, lane: &Lane, make: impl FnOnce(&mut Vec<u8>)) {
        let share = self.shared.share.load(Ordering::Relaxed);
        // The writer holds this for as long as it takes to swap two buffers.
        let mut lines = lock(&lane.lines);
        let before = lines.text.len();
        if before < share {
            make(&mut lines.text);
        }
        let after = lines.text.len();
        if before >= share || after > share {
            lines.text.truncate(before);
            drop(lines);
            self.shared.settings.counts.dropped(1);
        } else {
            lines.count += 1;
            drop(lines);
        }
        // Asked after the lane was let go: either the writer has yet to come by, or it left word that it is idle.
        if before == 0 {
            self.shared.wake(SOON);
        } else if before < share / 2 && after >= share / 2 {
            self.shared.wake(NOW);
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.begin_close();
    }
}

impl Counts {
    fn get(&self) -> &LogCounts {
        match self {
            Self::Shared(counts) => counts,
            Self::Process(counts) => counts,
        }
    }

    fn written(&self, lines: u64) {
        self.get().written.fetch_add(lines, Ordering::Relaxed);
    }

    fn dropped(&self, lines: u64) {
        self.get().dropped.fetch_add(lines, Ordering::Relaxed);
    }
}

impl Shared {
    fn add(&self, lane: Arc<Lane>) {
        let mut lanes = lock(&self.lanes);
        lanes.push(lane);
        self.share_out(lanes.len());
    }

    /// Gives each of so many lanes its share; nothing, once nobody comes by to empty them.
    fn share_out(&self, lanes: usize) {
        let open = *lock(&self.stage) == Stage::Open;
        let share = if open { (TOTAL / lanes.max(1)).max(LEAST) } else { 0 };
        self.share.store(share, Ordering::Relaxed);
    }

    /// Sees to it that the writer comes by, unless it is told already.
    fn wake(&self, signal: u8) {
        if self.signal.load(Ordering::SeqCst) < signal
            && self.signal.fetch_max(signal, Ordering::SeqCst) < signal
            && let Some(writer) = self.writer.get()
        {
            writer.unpark();
        }
    }

    /// Waits until there is something to write and says whether the spool is open.
    fn wait(&self) -> Stage {
        while self.signal.load(Ordering::SeqCst) == IDLE {
            thread::park();
        }
        let end = Instant::now() + self.settings.delay;
        while self.signal.load(Ordering::SeqCst) == SOON {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
        let stage = *lock(&self.stage);
        // Before the lanes are looked at: a line that we miss finds its lane empty, and wakes us again.
        self.signal.store(IDLE, Ordering::SeqCst);
        stage
    }

    fn close(&self) {
        *lock(&self.stage) = Stage::Closed;
        self.stage_changed.notify_all();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

/// The writer's thread.
fn write_all(shared: &Shared, mut output: Output) {
    let mut batch = Lines::default();
    let mut pen =
        Pen { counts: shared.settings.counts.clone(), report: shared.settings.report, torn: false, ill: false };
    loop {
        let stage = shared.wait();
        if let Some(next) = lock(&shared.next).take() {
            output = next;
            pen.torn = false;
        }
        let lanes = lock(&shared.lanes).clone();
        shared.share_out(lanes.len());
        for lane in &lanes {
            std::mem::swap(&mut *lock(&lane.lines), &mut batch);
            if batch.count > 0 {
                pen.write(&mut output, &batch);
            }
            batch.text.clear();
            batch.text.shrink_to(LEAST);
            batch.count = 0;
        }
        drop(lanes);
        forget_lanes_of_dead_threads(shared);
        if stage != Stage::Open {
            return shared.close();
        }
    }
}

fn forget_lanes_of_dead_threads(shared: &Shared) {
    let mut lanes = lock(&shared.lanes);
    // A thread that has ended let go of its lane, so nobody can add to it after this look.
    lanes.retain(|lane| Arc::strong_count(lane) > 1 || lock(&lane.lines).count > 0);
    shared.share_out(lanes.len());
}

/// Writes batches and keeps count of what became of them.
struct Pen {
    counts: Counts,
    report: fn(Trouble<'_>),
    /// Whether the last line was begun and not ended.
    torn: bool,
    /// Whether the last batch failed.
    ill: bool,
}

impl Pen {
    fn write(&mut self, output: &mut Output, batch: &Lines) {
        let result = if self.torn { write_patiently(output, b"\n").map(drop) } else { Ok(()) };
        let result = result.and_then(|()| {
            self.torn = false;
            write_patiently(output, &batch.text)
        });
        let Err(Unwritten { written, error }) = result else {
            self.counts.written(batch.count);
            if std::mem::take(&mut self.ill) {
                (self.report)(Trouble::Ended);
            }
            return;
        };
        let written = &batch.text[..written];
        let whole = written.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.torn |= written.last().is_some_and(|byte| *byte != b'\n');
        self.counts.written(whole);
        self.counts.dropped(batch.count.saturating_sub(whole));
        if !std::mem::replace(&mut self.ill, true) {
            (self.report)(Trouble::Began(&error));
        }
    }
}

struct Unwritten {
    written: usize,
    error: io::Error,
}

/// Like `write_all`, but says how far it came, and gives a full pipe that does not block some time.
fn write_patiently(output: &mut Output, bytes: &[u8]) -> Result<(), Unwritten> {
    let mut written = 0;
    let mut patience = PATIENCE;
    while written < bytes.len() {
        let error = match output.write(&bytes[written..]) {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(more) => {
                written += more;
                patience = PATIENCE;
                continue;
            }
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock if !patience.is_zero() => {
                let pause = Duration::from_millis(10);
                thread::park_timeout(pause);
                patience = patience.saturating_sub(pause);
            }
            _ => return Err(Unwritten { written, error }),
        }
    }
    Ok(())
}

/// A thread that panicked in the middle of a line leaves at worst a torn line.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Lanes = Vec<(u64, Arc<Lane>)>;

thread_local! {
    /// This thread's lanes, by the spool's number. There are seldom more than two.
    static LANES: RefCell<Lanes> = const { RefCell::new(Vec::new()) };
}

/// Bytes that all lanes together may hold, as long as there are not so many that each would get less than `LEAST`.
const TOTAL: usize = 4 << 20;
const LEAST: usize = 256 << 10;

/// How long a pipe that does not block may stay full.
const PATIENCE: Duration = Duration::from_secs(1);

/// Nothing to write.
const IDLE: u8 = 0;
/// A first line; others may follow.
const SOON: u8 = 1;
/// A lane is half full, or somebody waits.
const NOW: u8 = 2;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn spool(output: Output, delay: Duration) -> (Spool, Arc<LogCounts>) {
        let counts = Arc::new(LogCounts::default());
        let settings = Settings { name: "test", delay, counts: Counts::Shared(counts.clone()), report: |_| {} };
        (Spool::start(output, settings).unwrap(), counts)
    }

    fn counted(counts: &LogCounts) -> (u64, u64) {
        (counts.written.load(Ordering::Relaxed), counts.dropped.load(Ordering::Relaxed))
    }

    fn wait_until(mut what: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !what() {
            assert!(begin.elapsed() < LIMIT, "waited too long");
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    #[test]
    fn every_line_of_every_thread_is_written_once_and_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (spool, counts) = spool(Output::append(&path).unwrap(), Duration::from_millis(1));
        thread::scope(|scope| {
            for thread in 0..4 {
                let spool = &spool;
                scope.spawn(move || {
                    for number in 0..5000 {
                        spool.line(|text| text.extend(format!("{thread} {number}\n").bytes()));
                    }
                });
            }
        });
        assert!(spool.close(LIMIT));
        assert_eq!(counted(&counts), (20_000, 0));
        let mut next = [0; 4];
        for line in fs::read_to_string(&path).unwrap().lines() {
            let (thread, number) = line.split_once(' ').unwrap();
            let next = &mut next[thread.parse::<usize>().unwrap()];
            assert_eq!(number.parse::<usize>().unwrap(), *next);
            *next += 1;
        }
        assert_eq!(next, [5000; 4]);
    }

    #[test]
    fn a_single_line_does_not_wait_for_company_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (spool, counts) = spool(Output::append(&path).unwrap(), Duration::from_millis(20));
        for number in 1..=3 {
            spool.line(|text| text.extend(b"x\n"));
            wait_until(|| counted(&counts) == (number, 0));
        }
        assert_eq!(fs::read(&path).unwrap(), b"x\nx\nx\n");
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let (spool, counts) = spool(Output::append("/dev/full".as_ref()).unwrap(), Duration::ZERO);
        for number in 1..=100 {
            spool.line(|text| text.extend(b"lost\n"));
            if number % 10 == 0 {
                wait_until(|| counted(&counts) == (0, number));
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        spool.redirect(Output::append(&path).unwrap());
        spool.line(|text| text.extend(b"kept\n"));
        assert!(spool.close(LIMIT));
        assert_eq!(counted(&counts), (1, 100));
        assert_eq!(fs::read(&path).unwrap(), b"kept\n");
    }

    #[test]
    fn a_pipe_that_nobody_reads_fills_up_and_blocks_nobody() {
        let (reader, writer) = io::pipe().unwrap();
        let (spool, counts) = spool(Output::of(writer), Duration::ZERO);
        let line = [b'x'; 1023];
        let begin = Instant::now();
        for _ in 0..20_000 {
            spool.line(|text| {
                text.extend_from_slice(&line);
                text.push(b'\n');
            });
        }
        assert!(begin.elapsed() < LIMIT);
        let (_, dropped) = counted(&counts);
        assert!(dropped > 10_000, "{dropped} of 20000 were dropped");
        assert!(!spool.close(Duration::from_millis(50)), "the pipe is full");
        drop(reader);
        assert!(spool.close(LIMIT), "EPIPE ends it");
        let (written, dropped) = counted(&counts);
        assert_eq!(written + dropped, 20_000);
    }

    #[test]
    fn lines_after_the_end_are_dropped_and_counted() {
        let (spool, counts) = spool(Output::nowhere(), Duration::ZERO);
        spool.line(|text| text.extend(b"in time\n"));
        assert!(spool.close(LIMIT));
        spool.line(|text| text.extend(b"late\n"));
        thread::scope(|scope| {
            scope.spawn(|| spool.line(|text| text.extend(b"late, and from elsewhere\n")));
        });
        assert_eq!(counted(&counts), (1, 2));
        assert!(spool.close(LIMIT));
    }

    #[test]
    fn lanes_of_threads_that_ended_are_forgotten() {
        let (spool, counts) = spool(Output::nowhere(), Duration::ZERO);
        for number in 1..=50 {
            thread::scope(|scope| {
                scope.spawn(|| spool.line(|text| text.extend(b"x\n")));
            });
            wait_until(|| counted(&counts) == (number, 0));
        }
        // A thread lets go of its lane a moment after its work is done, and lanes are looked at when there is a line.
        wait_until(|| {
            spool.line(|text| text.extend(b"x\n"));
            lock(&spool.shared.lanes).len() <= 2
        });
    }
}
