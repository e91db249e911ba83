//! Key spaces in Redis or Valkey, through one connection for each worker.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, RedisError, Script};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::KvError;
use crate::config;

/// A server, and how to use it.
pub struct Server {
    client: Client,
    settings: config::Kv,
}

/// One worker's connections, by server. A reload may have another one.
#[derive(Debug, Default)]
pub struct Connections {
    open: RefCell<Vec<(Arc<Server>, Arc<Connection>)>>,
}

/// One worker's connection to a server. It is made when it is first needed, and made again when it breaks.
#[derive(Debug)]
pub struct Connection {
    server: Arc<Server>,
    state: Mutex<State>,
    under_way: AtomicUsize,
    /// Operations in a row that ran out of time.
    timeouts: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// After a failure to connect: until then nobody tries again.
    rests_until: Option<Instant>,
}

impl Server {
    /// The server that the configuration names.
    ///
    /// # Errors
    /// A sentence: not a URL of such a server, or one that asks for what is not offered.
    pub fn new(settings: &config::Kv) -> Option<Result<Self, String>> {
        let url = &settings.redis.as_ref()?.value;
        Some(match url.split_once("://") {
            Some(("redis" | "valkey" | "redis+unix" | "valkey+unix" | "unix", _)) => match Client::open(url.as_str()) {
                Ok(client) => Ok(Self { client, settings: settings.clone() }),
                Err(error) => Err(format!("this is not the URL of a Redis server: {error}")),
            },
            Some(("rediss" | "valkeys", _)) => Err("TLS to Redis is not offered; use a tunnel or a socket".into()),
            _ => Err("this is not the URL of a Redis server".into()),
        })
    }

    /// Whether both are used in the same way.
    #[must_use]
    pub fn same_as(&self, settings: &config::Kv) -> bool {
        let config::Kv { redis, prefix, timeout, queue } = &self.settings;
        let url = |url: &Option<config::Located<String>>| url.as_ref().map(|url| url.value.clone());
        url(redis) == url(&settings.redis)
            && (prefix, timeout, queue) == (&settings.prefix, &settings.timeout, &settings.queue)
    }

    /// What all keys of that tenant's plugin begin with.
    #[must_use]
    pub fn prefix(&self, tenant: &str, plugin: &str) -> Arc<str> {
        // None of the three can have a colon.
        format!("{}:{tenant}:{plugin}:", self.settings.prefix).into()
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the URL: it may hold a password.
        f.debug_struct("Server").field("address", self.client.get_connection_info().addr()).finish_non_exhaustive()
    }
}

impl Connections {
    /// This worker's connection to that server.
    #[must_use]
    pub fn of(&self, server: &Arc<Server>) -> Arc<Connection> {
        let mut open = self.open.borrow_mut();
        // Whoever still uses an old one holds it.
        open.retain(|(_, connection)| Arc::strong_count(connection) > 1);
        if let Some((_, connection)) = open.iter().find(|(known, _)| Arc::ptr_eq(known, server)) {
            return connection.clone();
        }
        let connection = Arc::new(Connection::new(server.clone()));
        open.push((server.clone(), connection.clone()));
        connection
    }
}

impl Connection {
    fn new(server: Arc<Server>) -> Self {
        Self { server, state: Mutex::default(), under_way: AtomicUsize::new(0), timeouts: AtomicU32::new(0) }
    }

    /// The value, if there is one.
    ///
    /// # Errors
    /// [`KvError::Unavailable`]
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        self.run(async |connection| redis::cmd("GET").arg(key).query_async(connection).await).await
    }

    /// Stores a value.
    ///
    /// # Errors
    /// [`KvError::Unavailable`]
    pub async fn set(&self, key: &str, value: &[u8], life: Option<Duration>) -> Result<(), KvError> {
        let mut set = redis::cmd("SET");
        set.arg(key).arg(value);
        if let Some(life) = life {
            set.arg("PX").arg(millis(life));
        }
        self.run(async |connection| set.query_async(connection).await).await
    }

    /// Removes a key, and says whether it was there.
    ///
    /// # Errors
    /// [`KvError::Unavailable`]
    pub async fn delete(&self, key: &str) -> Result<bool, KvError> {
        self.run(async |connection| redis::cmd("DEL").arg(key).query_async(connection).await).await
    }

    /// Stores a value if what is there is `expected`, and says whether it did.
    ///
    /// # Errors
    /// [`KvError::Unavailable`]
    pub async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        life: Option<Duration>,
    ) -> Result<bool, KvError> {
        let mut invocation = COMPARE_AND_SET.key(key);
        invocation.arg(i32::from(expected.is_some())).arg(expected.unwrap_or_default()).arg(value);
        invocation.arg(life.map_or(0, millis));
        self.run(async |connection| invocation.invoke_async(connection).await).await
    }

    /// Adds to a number and returns the sum. A key that is made now lives so long.
    ///
    /// # Errors
    /// [`KvError::NotANumber`], [`KvError::Unavailable`]
    pub async fn increment(&self, key: &str, by: i64, life: Option<Duration>) -> Result<i64, KvError> {
        let mut invocation = INCREMENT.key(key);
        invocation.arg(by).arg(life.map_or(0, millis));
        // As text: numbers of a script are floats.
        let sum: String = self.run(async |connection| invocation.invoke_async(connection).await).await?;
        sum.parse().map_err(|_| KvError::NotANumber)
    }

    /// One operation, within its time.
    async fn run<T: FromRedisValue>(
        &self,
        operation: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, KvError> {
        let settings = &self.server.settings;
        let _under_way = self.admit(settings.queue)?;
        let by = Instant::now() + settings.timeout;
        let late = |_| KvError::Unavailable("the server took longer than kv.timeout".into());
        let mut connection = tokio::time::timeout_at(by, self.connected()).await.map_err(late)??;
        match tokio::time::timeout_at(by, operation(&mut connection)).await {
            Ok(answer) => {
                self.timeouts.store(0, Ordering::Relaxed);
                match answer {
                    Ok(answer) => Ok(answer),
                    Err(error) => Err(self.failed(&error).await),
                }
            }
            Err(elapsed) => {
                // A server that does not answer at all may never say so: what waits for it must not pile up.
                if self.timeouts.fetch_add(1, Ordering::Relaxed) >= MOST_TIMEOUTS {
                    self.timeouts.store(0, Ordering::Relaxed);
                    self.state.lock().await.connection = None;
                }
                Err(late(elapsed))
            }
        }
    }

    fn admit(&self, queue: usize) -> Result<UnderWay<'_>, KvError> {
        let under_way = UnderWay(&self.under_way);
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= queue {
            return Err(KvError::Unavailable("as many operations as kv.queue allows are under way".into()));
        }
        Ok(under_way)
    }

    /// A handle of the connection, which is made if there is none. Others wait meanwhile: one attempt is enough.
    async fn connected(&self) -> Result<MultiplexedConnection, KvError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok(connection.clone());
        }
        if state.rests_until.is_some_and(|until| Instant::now() < until) {
            return Err(KvError::Unavailable("the server could not be reached a moment ago".into()));
        }
        // Should the attempt be cancelled by its time limit, that is a failure too.
        state.rests_until = Some(Instant::now() + REST);
        // Time is limited here, for all that an operation takes together.
        let settings = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        match self.server.client.get_multiplexed_async_connection_with_config(&settings).await {
            Ok(connection) => {
                state.rests_until = None;
                state.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => Err(KvError::Unavailable(format!("the server cannot be reached: {error}").into())),
        }
    }

    async fn failed(&self, error: &RedisError) -> KvError {
        if error.is_unrecoverable_error() || error.is_io_error() {
            self.state.lock().await.connection = None;
        }
        if let ErrorKind::Server(_) = error.kind() {
            let told = error.to_string();
            if NOT_A_NUMBER.iter().any(|words| told.contains(words)) {
                return KvError::NotANumber;
            }
        }
        KvError::Unavailable(format!("the server says: {error}").into())
    }
}

/// One operation more, until it is dropped.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1)
}

static COMPARE_AND_SET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local there = redis.call('GET', KEYS[1])
         if ARGV[1] == '0' then if there then return 0 end elseif there ~= ARGV[2] then return 0 end
         if ARGV[4] == '0' then redis.call('SET', KEYS[1], ARGV[3])
         else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
         return 1",
    )
});

static INCREMENT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local made = redis.call('EXISTS', KEYS[1]) == 0
         redis.call('INCRBY', KEYS[1], ARGV[1])
         if made and ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
         return redis.call('GET', KEYS[1])",
    )
});

/// How Redis says that what is there is not a number, or would not be one any more.
const NOT_A_NUMBER: [&str; 2] = ["not an integer", "overflow"];

/// How long nobody tries to connect after a failure.
const REST: Duration = Duration::from_millis(100);

/// Operations in a row that run out of time before the connection is given up.
const MOST_TIMEOUTS: u32 = 16;
