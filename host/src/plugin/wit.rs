//! Types of the contract that hooks take and give (`wit/types.wit`). Those of imports stand with the imports.

use wasmtime::component::{ComponentType, Lift, Lower};

use super::attempt::FailedAttempt;
use super::connect::Arriving;
use super::direct::{GuestMemory, Put, Rooms, in_memory};
use super::hooks::OnResponseFinish;
use crate::exchange::{End, KnownMethod, Peer, Summary};
use crate::tls::ClientCertificate;

/// `types.verdict`
#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
pub(super) enum WitVerdict {
    #[component(name = "proceed")]
    Proceed,
    #[component(name = "answer")]
    Answer(WitAnswer),
    #[component(name = "hold")]
    Hold(u32),
}

/// `types.body-action`
#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
pub(super) enum WitBodyAction {
    #[component(name = "pass")]
    Pass,
    #[component(name = "replace")]
    Replace(Vec<u8>),
    #[component(name = "abort")]
    Abort,
}

/// `types.attempt`
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub(super) struct WitAttempt {
    number: u32,
    backend: String,
    reason: &'static str,
    status: Option<u16>,
    #[component(name = "may-retry")]
    may_retry: bool,
}

/// `types.certificate`
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub(super) struct WitCertificate {
    subject: String,
    names: Vec<String>,
    fingerprint: String,
    serial: String,
    #[component(name = "not-after")]
    not_after: u64,
}

in_memory!(Option<WitCertificate>);

impl Put for WitCertificate {
    const SIZE: u32 = 40;
    const ALIGN: u32 = 8;
    const WANTS_ROOM: bool = true;

    fn rooms(&self, rooms: &mut Rooms) -> wasmtime::Result<()> {
        self.subject.rooms(rooms)?;
        self.names.rooms(rooms)?;
        self.fingerprint.rooms(rooms)?;
        self.serial.rooms(rooms)
    }

    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        self.subject.put(guest, at)?;
        self.names.put(guest, at.wrapping_add(8))?;
        self.fingerprint.put(guest, at.wrapping_add(16))?;
        self.serial.put(guest, at.wrapping_add(24))?;
        self.not_after.put(guest, at.wrapping_add(32))
    }
}

impl From<&ClientCertificate> for WitCertificate {
    fn from(certificate: &ClientCertificate) -> Self {
        let ClientCertificate { subject, names, fingerprint, serial, not_after } = certificate.clone();
        Self { subject, names, fingerprint, serial, not_after }
    }
}

/// `types.connection`
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub(super) struct WitConnection {
    #[component(name = "client-address")]
    client_address: String,
    #[component(name = "client-port")]
    client_port: u16,
    listener: String,
    tls: bool,
    #[component(name = "server-name")]
    server_name: Option<String>,
    alpn: Option<String>,
    http2: bool,
    certificate: Option<WitCertificate>,
}

impl From<&Arriving<'_>> for WitConnection {
    fn from(arriving: &Arriving<'_>) -> Self {
        let Peer { address, tls, .. } = arriving.peer;
        let known = tls.as_ref();
        Self {
            client_address: address.ip().to_canonical().to_string(),
            client_port: address.port(),
            listener: arriving.listener.to_string(),
            tls: known.is_some(),
            server_name: known.and_then(|tls| tls.server_name.clone()),
            alpn: arriving.alpn.map(str::to_owned),
            http2: arriving.http2,
            certificate: known.and_then(|tls| tls.client.as_deref().map(WitCertificate::from)),
        }
    }
}

/// `types.admission`
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[expect(dead_code, reason = "guests make them")]
#[component(enum)]
#[repr(u8)]
pub(super) enum WitAdmission {
    #[component(name = "accept")]
    Accept,
    #[component(name = "refuse")]
    Refuse,
}

/// `types.next-attempt`
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(variant)]
pub(super) enum WitNextAttempt {
    #[component(name = "proceed")]
    Proceed,
    #[component(name = "pick")]
    Pick(u32),
    #[component(name = "give-up")]
    GiveUp,
}

/// `types.answer`
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct WitAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// `types.summary`
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(super) struct WitSummary {
    method: WitMethod,
    route: u32,
    status: u16,
    #[component(name = "request-bytes")]
    request_bytes: u64,
    #[component(name = "response-bytes")]
    response_bytes: u64,
    #[component(name = "first-byte-nanos")]
    first_byte_nanos: u64,
    #[component(name = "total-nanos")]
    total_nanos: u64,
    attempts: u32,
    end: WitEnd,
}

/// `types.method`
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(super) enum WitMethod {
    #[component(name = "get")]
    Get,
    #[component(name = "head")]
    Head,
    #[component(name = "post")]
    Post,
    #[component(name = "put")]
    Put,
    #[component(name = "patch")]
    Patch,
    #[component(name = "delete")]
    Delete,
    #[component(name = "options")]
    Options,
    #[component(name = "trace")]
    Trace,
    #[component(name = "other")]
    Other,
}

impl From<KnownMethod> for WitMethod {
    fn from(method: KnownMethod) -> Self {
        match method {
            KnownMethod::Get => Self::Get,
            KnownMethod::Head => Self::Head,
            KnownMethod::Post => Self::Post,
            KnownMethod::Put => Self::Put,
            KnownMethod::Patch => Self::Patch,
            KnownMethod::Delete => Self::Delete,
            KnownMethod::Options => Self::Options,
            KnownMethod::Trace => Self::Trace,
            KnownMethod::Other => Self::Other,
        }
    }
}

/// `types.end`
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(super) enum WitEnd {
    #[component(name = "complete")]
    Complete,
    #[component(name = "client-gone")]
    ClientGone,
    #[component(name = "upstream-truncated")]
    UpstreamTruncated,
    #[component(name = "timed-out")]
    TimedOut,
    #[component(name = "aborted")]
    Aborted,
}

impl From<&FailedAttempt<'_>> for WitAttempt {
    fn from(failed: &FailedAttempt<'_>) -> Self {
        let FailedAttempt { number, backend, reason, status, may_retry } = *failed;
        let status = status.map(|status| status.as_u16());
        Self { number, backend: backend.to_owned(), reason: reason.code(), status, may_retry }
    }
}

impl WitSummary {
    /// As a core function is given it: a parameter for each field.
    #[inline]
    pub(super) fn flat(self) -> (u32, u32, u32, u64, u64, u64, u64, u32, u32) {
        (
            self.method as u32,
            self.route,
            self.status.into(),
            self.request_bytes,
            self.response_bytes,
            self.first_byte_nanos,
            self.total_nanos,
            self.attempts,
            self.end as u32,
        )
    }
}

impl From<OnResponseFinish> for WitSummary {
    fn from(OnResponseFinish { summary, method, route }: OnResponseFinish) -> Self {
        let Summary { status, request_bytes, response_bytes, first_byte_nanos, total_nanos, attempts, end } = summary;
        let method = method.into();
        let end = match end {
            End::Complete => WitEnd::Complete,
            End::ClientGone => WitEnd::ClientGone,
            End::UpstreamTruncated => WitEnd::UpstreamTruncated,
            End::TimedOut => WitEnd::TimedOut,
            End::Aborted => WitEnd::Aborted,
        };
        Self { method, route, status, request_bytes, response_bytes, first_byte_nanos, total_nanos, attempts, end }
    }
}
