//! What a process has written, line by line.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::wait::LONG;

/// The lines that a process has written so far. Clones look at the same lines.
#[derive(Debug, Clone)]
pub struct Output {
    lines: Arc<Mutex<Vec<String>>>,
    written: Arc<watch::Sender<()>>,
}

impl Default for Output {
    fn default() -> Self {
        Self { lines: Arc::default(), written: Arc::new(watch::Sender::new(())) }
    }
}

impl Output {
    /// Collects what comes from a pipe until it closes.
    pub fn collect(&self, pipe: impl AsyncRead + Send + Unpin + 'static) {
        let output = self.clone();
        tokio::spawn(async move {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
                output.lines.lock().unwrap().push(String::from_utf8_lossy(&line).trim_end().to_owned());
                output.written.send_replace(());
                line.clear();
            }
        });
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How many lines hold this text so far.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for the first line that holds this text.
    #[track_caller]
    pub fn line(&self, text: &str) -> impl Future<Output = String> {
        self.lines_with(text, 1, std::panic::Location::caller())
    }

    /// Waits for the `count`th line that holds this text.
    #[track_caller]
    pub fn nth_line(&self, text: &str, count: usize) -> impl Future<Output = String> {
        self.lines_with(text, count, std::panic::Location::caller())
    }

    async fn lines_with(&self, text: &str, count: usize, place: &std::panic::Location<'_>) -> String {
        let mut written = self.written.subscribe();
        let search = async {
            loop {
                let found =
                    self.lines.lock().unwrap().iter().filter(|line| line.contains(text)).nth(count - 1).cloned();
                match found {
                    Some(line) => return line,
                    None => written.changed().await.expect("this very output holds the sender"),
                }
            }
        };
        match timeout(LONG, search).await {
            Ok(line) => line,
            Err(_) => {
                panic!("{place}: no line {count} with {text:?} in {LONG:?}; there are:\n{}", self.lines().join("\n"))
            }
        }
    }
}
