//! The imports that reach outside, as the [`Host`](super::Host) of a test answers them.
#![expect(missing_docs, reason = "`wit/outbound.wit` documents them")]
#![allow(
    unreachable_pub,
    clippy::missing_errors_doc,
    reason = "`wit/outbound.wit` documents them, and `lib.rs` picks what is public"
)]

use super::host;

pub mod kv {
    use super::super::{Host, Kept};
    use super::host;
    pub use crate::bindings::lockgate::plugin::kv::Error;

    pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        with(key, |host| Ok(live(host, key).map(|kept| kept.value.clone())))
    }

    pub fn set(key: &str, value: &[u8], ttl_millis: Option<u64>) -> Result<(), Error> {
        with(key, |host| {
            store(host, key, value, ttl_millis);
            Ok(())
        })
    }

    pub fn delete(key: &str) -> Result<bool, Error> {
        with(key, |host| {
            let was_there = live(host, key).is_some();
            host.kv.remove(key);
            Ok(was_there)
        })
    }

    pub fn compare_and_set(
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl_millis: Option<u64>,
    ) -> Result<bool, Error> {
        with(key, |host| {
            let fits = live(host, key).map(|kept| kept.value.as_slice()) == expected;
            if fits {
                store(host, key, value, ttl_millis);
            }
            Ok(fits)
        })
    }

    pub fn increment(key: &str, by: i64, ttl_millis: Option<u64>) -> Result<i64, Error> {
        with(key, |host| {
            let Some(kept) = live(host, key) else {
                store(host, key, by.to_string().as_bytes(), ttl_millis);
                return Ok(by);
            };
            let before = std::str::from_utf8(&kept.value).ok().and_then(|text| text.parse::<i64>().ok());
            let sum = before.and_then(|before| before.checked_add(by)).ok_or(Error::NotANumber)?;
            let expires = kept.expires;
            host.kv.insert(key.to_owned(), Kept { value: sum.to_string().into_bytes(), expires });
            Ok(sum)
        })
    }

    fn with<T>(key: &str, act: impl FnOnce(&mut Host) -> Result<T, Error>) -> Result<T, Error> {
        host(|host| match &host.kv_error {
            Some(error) => Err(error.clone()),
            None if key.is_empty() || key.len() > 512 => Err(Error::InvalidKey),
            None => act(host),
        })
    }

    fn live<'a>(host: &'a Host, key: &str) -> Option<&'a Kept> {
        host.kv.get(key).filter(|kept| kept.expires.is_none_or(|expires| expires > host.monotonic))
    }

    fn store(host: &mut Host, key: &str, value: &[u8], ttl_millis: Option<u64>) {
        let expires = ttl_millis.map(|millis| host.monotonic.saturating_add(millis.max(1).saturating_mul(1_000_000)));
        host.kv.insert(key.to_owned(), Kept { value: value.to_owned(), expires });
    }
}

pub mod http_client {
    use super::super::Asked;
    use super::host;
    use crate::bindings::lockgate::plugin::http_client::{Error, Request, Response};

    pub fn send(request: Request<'_>) -> Result<Response, Error> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        host(|host| {
            host.http_requests.push(Asked {
                method: request.method.to_owned(),
                url: request.url.to_owned(),
                headers: request.headers.iter().map(owned).collect(),
                body: request.body.to_owned(),
            });
            let answer = host.http_answers.pop_front().unwrap_or(Err(Error::NotGranted))?;
            host.http_bodies.push(Some(answer.body));
            host.http_heads.push(answer.headers);
            let id = u32::try_from(host.http_bodies.len() - 1).expect("a test makes few requests");
            Ok(Response { status: answer.status, id })
        })
    }

    pub fn header(response: u32, name: &str) -> Option<String> {
        let headers = headers(response);
        headers.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn headers(response: u32) -> Vec<(String, String)> {
        host(|host| host.http_heads[response as usize].clone())
    }

    pub fn read(response: u32, max: u32) -> Result<Vec<u8>, Error> {
        host(|host| {
            let open = &mut host.http_bodies[response as usize];
            let bytes = open.as_mut().expect("a body that is open");
            let rest = bytes.split_off(bytes.len().min(max.max(1) as usize));
            let part = std::mem::replace(bytes, rest);
            if part.is_empty() {
                *open = None;
            }
            Ok(part)
        })
    }

    pub fn read_all(response: u32, max: u32) -> Result<Vec<u8>, Error> {
        let all = host(|host| host.http_bodies[response as usize].take().expect("a body that is open"));
        if all.len() > max as usize { Err(Error::TooLarge) } else { Ok(all) }
    }

    pub fn close(response: u32) {
        host(|host| host.http_bodies[response as usize] = None);
    }
}
