//! The keys at a JWKS address (RFC 7517), which are fetched when they are needed and kept for a while.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use lockgate_plugin::{clock, http_client, log};
use rsa::pkcs1v15::VerifyingKey;
use rsa::{BigUint, RsaPublicKey};
use serde_json::Value;
use sha2::Sha256;

type Key = VerifyingKey<Sha256>;

pub struct Keys {
    url: String,
    keys: HashMap<String, Key>,
    /// When they were fetched, by the clock that never goes back.
    fetched: Option<u64>,
}

impl Keys {
    pub fn at(url: String) -> Self {
        Self { url, keys: HashMap::new(), fetched: None }
    }

    /// The key of that name. A name that is not known, and time, have them fetched again, but not all the time.
    pub fn named(&mut self, id: &str) -> Result<&Key, String> {
        let age = self.fetched.map_or(u64::MAX, |fetched| clock::monotonic() - fetched);
        if age > STALE || (age > SOON && !self.keys.contains_key(id)) {
            match fetch(&self.url) {
                Ok(keys) => self.keys = keys,
                // Old keys are better than none while the server is away.
                Err(why) => log::warn!("cannot fetch the keys: {why}"),
            }
            self.fetched = Some(clock::monotonic());
        }
        self.keys.get(id).ok_or_else(|| format!("no key is called {id:?}"))
    }
}

fn fetch(url: &str) -> Result<HashMap<String, Key>, String> {
    let response = http_client::get(url).map_err(|error| error.to_string())?;
    if response.status != 200 {
        return Err(format!("{url} answers {}", response.status));
    }
    let body = response.bytes(1 << 20).map_err(|error| error.to_string())?;
    let jwks: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let key = |jwk: &Value| {
        let number = |name| Some(BigUint::from_bytes_be(&BASE64.decode(jwk[name].as_str()?).ok()?));
        let key = RsaPublicKey::new(number("n")?, number("e")?).ok().filter(|_| jwk["kty"] == "RSA")?;
        Some((jwk["kid"].as_str().unwrap_or_default().to_owned(), VerifyingKey::new(key)))
    };
    Ok(jwks["keys"].as_array().into_iter().flatten().filter_map(key).collect())
}

/// Nanoseconds after which keys are fetched again, and within which no key is asked for twice.
const STALE: u64 = 600_000_000_000;
const SOON: u64 = 5_000_000_000;
