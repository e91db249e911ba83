//! Probes: a GET to every backend of an upstream at intervals, from one task for each, away from the workers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

use super::connect::{connect_tcp, greet, is_scarcity};
use super::{Backend, Upstream};
use crate::config::{HealthProbe, Protocol};

/// All probes of this process.
#[derive(Debug, Default)]
pub struct Prober {
    /// By the backend's id.
    tasks: HashMap<usize, Task>,
}

/// The task that probes one backend; it ends with this.
#[derive(Debug)]
struct Task {
    backend: Arc<Backend>,
    probe: HealthProbe,
    handle: AbortHandle,
}

impl Prober {
    /// Probes the backends of these upstreams from now on, and no others. Those that were probed already, and in the same
    /// way, are not disturbed. Call it inside the runtime that is to run the probes.
    pub fn follow<'a>(&mut self, upstreams: impl IntoIterator<Item = &'a Arc<Upstream>>) {
        let mut before = std::mem::take(&mut self.tasks);
        for upstream in upstreams {
            let Some(probe) = &upstream.settings.health else { continue };
            for backend in &upstream.backends {
                let known = before.remove(&backend.id).filter(|task| task.probe == *probe);
                let task = known.unwrap_or_else(|| Task::spawn(backend, probe));
                self.tasks.insert(backend.id, task);
            }
        }
        for (id, task) in &before {
            if !self.tasks.contains_key(id) {
                task.backend.group.probed_up(&task.backend, "it is no longer probed");
            }
        }
    }
}

impl Task {
    fn spawn(backend: &Arc<Backend>, probe: &HealthProbe) -> Self {
        let handle = tokio::spawn(watch(Arc::clone(backend), probe.clone())).abort_handle();
        Self { backend: Arc::clone(backend), probe: probe.clone(), handle }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

async fn watch(backend: Arc<Backend>, probe: HealthProbe) {
    // Many gateways that start at once must not probe a backend at once.
    tokio::time::sleep(jitter(probe.interval)).await;
    let mut ticks = tokio::time::interval(probe.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut failures, mut successes) = (0, 0);
    loop {
        ticks.tick().await;
        match ask(&backend, &probe).await {
            Ok(()) => {
                failures = 0;
                successes += 1;
                if successes >= probe.rise {
                    backend.group.probed_up(&backend, &format!("{successes} probes in a row succeeded"));
                }
            }
            Err(Failed::Here(error)) => {
                tracing::warn!("{} cannot be probed: {error}", backend.address);
            }
            Err(Failed::There(reason)) => {
                successes = 0;
                failures += 1;
                if failures >= probe.fall {
                    backend
                        .group
                        .probed_down(&backend, &format!("{failures} probes in a row failed, the last: {reason}"));
                }
            }
        }
    }
}

/// A random part of `interval`.
fn jitter(interval: Duration) -> Duration {
    // Without randomness all start at once, which is no reason not to probe.
    let random = getrandom::u32().unwrap_or(0);
    interval.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Why a probe failed, for people.
enum Failed {
    /// This machine could not send it, which says nothing about the backend.
    Here(std::io::Error),
    /// The backend did not answer as it should.
    There(String),
}

async fn ask(backend: &Backend, probe: &HealthProbe) -> Result<(), Failed> {
    let unreachable = |error: std::io::Error| match is_scarcity(&error) {
        true => Failed::Here(error),
        false => Failed::There(format!("cannot connect: {error}")),
    };
    let exchange = async {
        let stream = connect_tcp(backend).await.map_err(unreachable)?;
        let stream = greet(stream, backend, None).await.map_err(unreachable)?;
        let answer = match &backend.tls {
            Some(tls) => match tls.connect(stream).await {
                Ok((stream, http2)) => get(stream, http2, backend, probe).await,
                Err(error) => Err(format!("TLS handshake: {error}")),
            },
            None => get(stream, backend.protocol == Protocol::Http2, backend, probe).await,
        };
        answer.map_err(Failed::There)
    };
    match tokio::time::timeout(probe.timeout, exchange).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failed::There(format!("no answer within {}", humantime::format_duration(probe.timeout)))),
    }
}

async fn get<S>(stream: S, http2: bool, backend: &Backend, probe: &HealthProbe) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let told = |error: hyper::Error| error.to_string();
    let request =
        http::Request::get(if http2 { format!("{}{}", backend.address, probe.path) } else { probe.path.clone() })
            .header(http::header::USER_AGENT, concat!("lockgate/", env!("CARGO_PKG_VERSION"), " (probe)"));
    if http2 {
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(told)?;
        return judge(sender.send_request(request), connection, probe).await;
    }
    let request = request
        .header(http::header::HOST, &backend.authority)
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
    judge(sender.send_request(request), connection, probe).await
}

/// Waits for the response while the connection runs, reads as much of its body as is wise, and judges its status. The
/// connection ends with this.
async fn judge(
    response: impl Future<Output = hyper::Result<http::Response<Incoming>>>,
    connection: impl Future<Output = hyper::Result<()>>,
    probe: &HealthProbe,
) -> Result<(), String> {
    let answered = async {
        let response = response.await.map_err(|error| error.to_string())?;
        let (head, mut body) = response.into_parts();
        if !probe.expect.contains(&head.status.as_u16()) {
            return Err(format!("status {}", head.status.as_u16()));
        }
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("broken body: {error}"))?;
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MOST_BODY {
                break;
            }
        }
        Ok(())
    };
    let running = async {
        let _ = connection.await;
        // What is left to read is already with the body.
        std::future::pending().await
    };
    tokio::select! {
        outcome = answered => outcome,
        never = running => never,
    }
}

/// More than that of a probe's answer is not read.
const MOST_BODY: usize = 64 * 1024;
