//! Why something failed, in one word that is the same in an error's body, in the log, in metrics and in the docs.

/// A stable reason code. Adding one is compatible; renaming one is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// No route matches the request.
    NoRoute,
    /// The request breaks HTTP's rules.
    BadRequest,
    /// The client took too long over its head or its body.
    RequestTimeout,
    /// The body is longer than the route allows.
    BodyTooLarge,
    /// The target is longer than the limit.
    UriTooLong,
    /// The header section is larger than the limit.
    HeadersTooLarge,
    /// `Expect` asks for something other than `100-continue`.
    ExpectationFailed,
    /// A method that is not served here: CONNECT.
    MethodNotServed,
    /// No backend could be connected to.
    ConnectFailed,
    /// The TLS handshake with the backend failed.
    UpstreamTls,
    /// The backend closed or reset the connection before its response's head was complete.
    UpstreamClosed,
    /// The backend's response breaks HTTP's rules.
    BadResponse,
    /// The response was cut short by the backend.
    UpstreamTruncated,
    /// The backend did not answer in time.
    UpstreamTimeout,
    /// No backend is healthy.
    NoBackend,
    /// All backends are at their limit, and the queue is full or took too long.
    Overloaded,
    /// The system has no descriptor, or no memory, for another connection to a backend.
    SystemLimit,
    /// A plugin trapped, ran out of a limit or gave a bad answer.
    PluginFailed,
    /// No plugin instance became free in time.
    PluginCapacity,
    /// The plugin is set aside because it kept failing.
    PluginQuarantined,
    /// The tenant's requests come faster than `quotas.rate`.
    TenantRate,
    /// The tenant has `quotas.exchanges` under way.
    TenantExchanges,
    /// The tenant's plugins have computed for longer than `quotas.cpu`, and others need the processor.
    TenantCpu,
    /// The tenant's plugins have all of `quotas.memory`.
    TenantMemory,
    /// The tenant has no sound configuration.
    TenantUnavailable,
    /// The connection was made for another tenant.
    Misdirected,
    /// A plugin's hook for a body ended the exchange.
    PluginAborted,
    /// The client went away.
    ClientGone,
    /// A body stalled for longer than `timeouts.body_idle`.
    BodyStalled,
    /// A fault of Lockgate's own.
    Internal,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them, in order.
    pub const ALL: [Self; 30] = [
        Self::NoRoute,
        Self::BadRequest,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::HeadersTooLarge,
        Self::ExpectationFailed,
        Self::MethodNotServed,
        Self::ConnectFailed,
        Self::UpstreamTls,
        Self::UpstreamClosed,
        Self::BadResponse,
        Self::UpstreamTruncated,
        Self::UpstreamTimeout,
        Self::NoBackend,
        Self::Overloaded,
        Self::SystemLimit,
        Self::PluginFailed,
        Self::PluginCapacity,
        Self::PluginQuarantined,
        Self::TenantRate,
        Self::TenantExchanges,
        Self::TenantCpu,
        Self::TenantMemory,
        Self::TenantUnavailable,
        Self::Misdirected,
        Self::PluginAborted,
        Self::ClientGone,
        Self::BodyStalled,
        Self::Internal,
    ];

    /// The code as it is written everywhere.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::BadRequest => "bad_request",
            Self::RequestTimeout => "request_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::ExpectationFailed => "expectation_failed",
            Self::MethodNotServed => "method_not_served",
            Self::ConnectFailed => "connect_failed",
            Self::UpstreamTls => "upstream_tls",
            Self::UpstreamClosed => "upstream_closed",
            Self::BadResponse => "bad_response",
            Self::UpstreamTruncated => "upstream_truncated",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::NoBackend => "no_backend",
            Self::Overloaded => "overloaded",
            Self::SystemLimit => "system_limit",
            Self::PluginFailed => "plugin_failed",
            Self::PluginCapacity => "plugin_capacity",
            Self::PluginQuarantined => "plugin_quarantined",
            Self::TenantRate => "tenant_rate",
            Self::TenantExchanges => "tenant_exchanges",
            Self::TenantCpu => "tenant_cpu",
            Self::TenantMemory => "tenant_memory",
            Self::TenantUnavailable => "tenant_unavailable",
            Self::Misdirected => "misdirected",
            Self::PluginAborted => "plugin_aborted",
            Self::ClientGone => "client_gone",
            Self::BodyStalled => "body_stalled",
            Self::Internal => "internal",
        }
    }

    /// What the client is answered.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::NoRoute => 404,
            Self::PluginAborted => 403,
            Self::BadRequest => 400,
            Self::RequestTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::UriTooLong => 414,
            Self::HeadersTooLarge => 431,
            Self::ExpectationFailed => 417,
            Self::MethodNotServed => 405,
            Self::ConnectFailed
            | Self::UpstreamTls
            | Self::UpstreamClosed
            | Self::BadResponse
            | Self::UpstreamTruncated => 502,
            Self::UpstreamTimeout => 504,
            Self::NoBackend
            | Self::Overloaded
            | Self::SystemLimit
            | Self::PluginFailed
            | Self::PluginCapacity
            | Self::PluginQuarantined
            | Self::TenantExchanges
            | Self::TenantCpu
            | Self::TenantMemory
            | Self::TenantUnavailable => 503,
            Self::TenantRate => 429,
            Self::Misdirected => 421,
            Self::ClientGone | Self::BodyStalled => 499,
            Self::Internal => 500,
        }
    }
}
