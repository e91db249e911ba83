//! Types of `lockgate:plugin/http-client`.

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::outbound::CallError;
use crate::plugin::direct::{GuestMemory, Put, Rooms, in_memory};

/// `http-client.request`
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct WitRequest {
    pub(in crate::plugin) method: String,
    pub(in crate::plugin) url: String,
    pub(in crate::plugin) headers: Vec<(String, String)>,
    pub(in crate::plugin) body: Vec<u8>,
    #[component(name = "timeout-millis")]
    pub(in crate::plugin) timeout_millis: Option<u32>,
}

/// `http-client.response`
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct WitResponse {
    pub(super) status: u16,
    pub(super) id: u32,
}

/// `http-client.error`
#[derive(Debug, ComponentType, Lower)]
#[component(variant)]
pub(super) enum WitError {
    #[component(name = "invalid-request")]
    InvalidRequest(String),
    #[component(name = "not-granted")]
    NotGranted,
    #[component(name = "private-address")]
    PrivateAddress,
    #[component(name = "too-many")]
    TooMany,
    #[component(name = "busy")]
    Busy,
    #[component(name = "timed-out")]
    TimedOut,
    #[component(name = "too-large")]
    TooLarge,
    #[component(name = "connect")]
    Connect(String),
    #[component(name = "failed")]
    Failed(String),
}

in_memory!(Result<WitResponse, WitError>, Result<Vec<u8>, WitError>);

impl Put for WitResponse {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;

    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        self.status.put(guest, at)?;
        self.id.put(guest, at.wrapping_add(4))
    }
}

impl WitError {
    fn case(self) -> (u8, Option<String>) {
        match self {
            Self::InvalidRequest(why) => (0, Some(why)),
            Self::NotGranted => (1, None),
            Self::PrivateAddress => (2, None),
            Self::TooMany => (3, None),
            Self::Busy => (4, None),
            Self::TimedOut => (5, None),
            Self::TooLarge => (6, None),
            Self::Connect(why) => (7, Some(why)),
            Self::Failed(why) => (8, Some(why)),
        }
    }
}

impl Put for WitError {
    const SIZE: u32 = 12;
    const ALIGN: u32 = 4;
    const WANTS_ROOM: bool = true;

    fn rooms(&self, rooms: &mut Rooms) -> wasmtime::Result<()> {
        match self {
            Self::InvalidRequest(why) | Self::Connect(why) | Self::Failed(why) => why.rooms(rooms),
            _ => Ok(()),
        }
    }

    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        let (case, why) = self.case();
        case.put(guest, at)?;
        why.map_or(Ok(()), |why| why.put(guest, at.wrapping_add(4)))
    }
}

impl From<CallError> for WitError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Invalid(why) => Self::InvalidRequest(why.into_owned()),
            CallError::NotGranted => Self::NotGranted,
            CallError::PrivateAddress => Self::PrivateAddress,
            CallError::TooMany => Self::TooMany,
            CallError::Busy | CallError::Quota => Self::Busy,
            CallError::TimedOut => Self::TimedOut,
            CallError::TooLarge => Self::TooLarge,
            CallError::Connect(why) => Self::Connect(why),
            CallError::Failed(why) => Self::Failed(why),
        }
    }
}
