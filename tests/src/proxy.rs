//! The proxy: the real binary in a process of its own.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::client::{Answer, get};
use crate::output::Output;
use crate::wait::{LONG, within};
use crate::{binary, command};

/// A proxy with this configuration, to be awaited. `$name` stands for what `set` says, `$dir` for a folder of the
/// scene's own. What every scene needs and few care about is added where it is missing: a listener, two workers, a short
/// grace, the admin listener.
#[must_use]
pub fn proxy(toml: &str) -> ProxyBuilder {
    let folder = tempfile::tempdir().unwrap();
    let names = vec![("dir".to_owned(), folder.path().display().to_string())];
    ProxyBuilder { toml: toml.to_owned(), names, folder, variables: Vec::new() }
}

/// A proxy that sends everything to one backend, the only one of the upstream `app`.
#[must_use]
pub fn proxy_to(backend: impl Display) -> ProxyBuilder {
    proxy("[upstream.app]\nbackends = [\"$app\"]\n[[route]]\nupstream = \"app\"\n").set("app", backend)
}

/// A proxy about to start.
#[derive(Debug)]
pub struct ProxyBuilder {
    toml: String,
    names: Vec<(String, String)>,
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// A running proxy. Dropping it kills the process; `stop` ends it in good order.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    names: Vec<(String, String)>,
    folder: TempDir,
    /// What it writes to standard output: the access log, unless configured otherwise.
    pub out: Output,
    /// What it writes to standard error.
    pub log: Output,
    listeners: Vec<(String, SocketAddr)>,
    admin: Option<SocketAddr>,
}

impl ProxyBuilder {
    /// Says what `$name` stands for.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        self.names.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets a variable in the process's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds to the configuration.
    #[must_use]
    pub fn and(mut self, toml: &str) -> Self {
        self.toml = format!("{}\n{toml}", self.toml);
        self
    }

    /// Adds to the upstream `app` of `proxy_to`.
    #[must_use]
    pub fn upstream(self, toml: &str) -> Self {
        self.within_section("[upstream.app]\n", toml)
    }

    /// Adds to the first route.
    #[must_use]
    pub fn route(self, toml: &str) -> Self {
        self.within_section("[[route]]\n", toml)
    }

    fn within_section(mut self, section: &str, toml: &str) -> Self {
        assert!(self.toml.contains(section), "no {section} in {}", self.toml);
        self.toml = self.toml.replacen(section, &format!("{section}{toml}\n"), 1);
        self
    }

    /// The scene's own folder, `$dir`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the configuration and says where, for commands other than `run`.
    #[must_use]
    pub fn written(&self) -> PathBuf {
        write(self.folder.path(), &complete(&self.toml, &self.names))
    }

    async fn start(self) -> Proxy {
        let toml = complete(&self.toml, &self.names);
        let file = write(self.folder.path(), &toml);
        let mut command = Command::new(binary::lockgate());
        command.arg("run").arg(file).env("NO_COLOR", "1").envs(self.variables).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        let (out, log) = (Output::default(), Output::default());
        out.collect(child.stdout.take().expect("piped"));
        log.collect(child.stderr.take().expect("piped"));
        let (names, folder) = (self.names, self.folder);
        let mut proxy = Proxy { child, names, folder, out, log, listeners: Vec::new(), admin: None };
        proxy.wait_until_listening(toml.matches("[[listener]]").count()).await;
        proxy
    }
}

impl IntoFuture for ProxyBuilder {
    type Output = Proxy;
    type IntoFuture = Pin<Box<dyn Future<Output = Proxy>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

impl Proxy {
    /// The first listener's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listeners[0].1
    }

    /// The address of the `index`th listener, in the order in which it said that it listens.
    #[must_use]
    pub fn listener(&self, index: usize) -> SocketAddr {
        self.listeners[index].1
    }

    /// The address of the first listener with TLS.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        self.listeners.iter().find(|(scheme, _)| scheme == "https").expect("one with TLS").1
    }

    /// A URL on the first listener.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.listeners[0].0, self.listeners[0].1)
    }

    /// The admin listener's address.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.expect("an admin listener")
    }

    /// Asks the admin listener.
    pub async fn admin(&self, path: &str) -> Answer {
        get(self.admin_address(), path).await
    }

    /// The value of a metric: the sum of the series whose line begins with this text.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.admin("/metrics").await.text();
        let lines = text.lines().filter(|line| line.starts_with(series));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// A value in KiB of `/proc/PID/status`: `VmRSS`, `VmHWM`.
    #[must_use]
    pub fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How many threads the process has.
    #[must_use]
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().count()
    }

    /// How many of its threads have that name.
    #[must_use]
    pub fn threads_named(&self, name: &str) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        // One that ends while we look has no name any more.
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|found| found.trim_end() == name).count()
    }

    /// Processor time that the process has used, user and system, in clock ticks of 10 ms.
    #[must_use]
    pub fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// How many files and sockets it has open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// The scene's own folder, `$dir`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether the process still runs.
    #[must_use]
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Replaces the configuration file at once, and does nothing else.
    pub fn rewrite(&self, toml: &str) {
        let next = write_to(self.folder.path(), "next.toml", &complete(toml, &self.names));
        std::fs::rename(next, self.folder.path().join("lockgate.toml")).unwrap();
    }

    /// Says what `$name` stands for in later configurations.
    pub fn set(&mut self, name: &str, value: impl Display) {
        self.names.retain(|(known, _)| known != name);
        self.names.push((name.to_owned(), value.to_string()));
    }

    /// Replaces the configuration, sends SIGHUP, and waits until it is used.
    pub async fn reload(&self, toml: &str) {
        let before = self.log.count(RELOADED);
        self.rewrite(toml);
        self.signal("HUP").await;
        // Not just any reload: the watch may have seen the file of a moment ago.
        let line = self.log.nth_line(RELOADED, before + 1).await;
        assert!(!line.contains("not reloaded"), "{line}");
    }

    /// Which configuration is used, counted from the start.
    pub async fn generation(&self) -> u64 {
        self.admin("/status").await.json()["generation"].as_u64().expect("a generation")
    }

    /// Waits for a configuration later than this one.
    pub async fn generation_after(&self, before: u64) -> u64 {
        let end = Instant::now() + LONG;
        loop {
            let now = self.generation().await;
            if now > before {
                return now;
            }
            assert!(Instant::now() < end, "no reload; the log says:\n{}", self.log.lines().join("\n"));
            sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Sends a signal: `TERM`, `HUP`, `INT`.
    pub async fn signal(&self, name: &str) {
        command::signal(self.pid(), name).await;
    }

    /// Waits for the end of the process.
    pub async fn ended(&mut self) -> ExitStatus {
        within("the proxy's end", self.child.wait()).await.unwrap()
    }

    /// Ends the process with SIGTERM and sees that it says all is well.
    pub async fn stop(mut self) {
        self.signal("TERM").await;
        let status = self.ended().await;
        assert!(status.success(), "lockgate ended with {status}");
    }

    async fn wait_until_listening(&mut self, listeners: usize) {
        let end = Instant::now() + LONG;
        while self.listeners.len() < listeners || self.admin.is_none() {
            let lines = [self.out.lines(), self.log.lines()].concat();
            self.listeners = lines.iter().filter_map(|line| address_after("listening", line)).collect();
            self.admin = lines.iter().find_map(|line| Some(address_after("admin", line)?.1));
            let ended = self.child.try_wait().unwrap();
            let why = if ended.is_some() { "ended" } else { "does not listen" };
            assert!(ended.is_none() && Instant::now() < end, "lockgate {why}; it said:\n{}", lines.join("\n"));
            sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = [self.log.lines(), self.out.lines()].concat();
            eprintln!("lockgate {} said:\n{}", self.folder.path().display(), lines.join("\n"));
        }
    }
}

/// The URL that a start-up line announces: `listening on http://127.0.0.1:4711`.
fn address_after(word: &str, line: &str) -> Option<(String, SocketAddr)> {
    let (_, rest) = line.split_once(word)?;
    let scheme = ["https", "http"].into_iter().find(|scheme| rest.contains(&format!("{scheme}://")))?;
    let (_, address) = rest.split_once("://")?;
    let length = address.find(|letter: char| !letter.is_ascii_digit() && !".:[]".contains(letter));
    let address = address[..length.unwrap_or(address.len())].trim_end_matches(['.', ':']).parse().ok()?;
    Some((scheme.to_owned(), address))
}

const RELOADED: &str = "reloaded (SIGHUP)";

fn complete(toml: &str, names: &[(String, String)]) -> String {
    let mut toml = toml.to_owned();
    let defaults = [
        ("[server]", "workers = 2\ngrace = \"40s\"\n"),
        ("[[listener]]", "address = \"127.0.0.1:0\"\n"),
        ("[admin]", "address = \"127.0.0.1:0\"\n"),
    ];
    for (section, content) in defaults {
        if !toml.contains(section) {
            toml.push_str(&format!("\n{section}\n{content}"));
        }
    }
    // The longest first, so that `$app2` is not taken for `$app` and a 2.
    let mut names = names.to_vec();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    for (name, value) in names {
        toml = toml.replace(&format!("${name}"), &value);
    }
    toml
}

fn write(folder: &Path, toml: &str) -> PathBuf {
    write_to(folder, "lockgate.toml", toml)
}

fn write_to(folder: &Path, name: &str, toml: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, toml).unwrap();
    file
}
