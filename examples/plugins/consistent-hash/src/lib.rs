//! Sends requests with the same key to the same backend, and moves as few keys as can be when backends come and go
//! (rendezvous hashing: of all backends, the one whose hash with the key is the greatest).

use lockgate_plugin::{PickBackend, Plugin, backends, exchange, request};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Key {
    /// The client's address.
    Client,
    /// The path, without the query.
    Path,
    /// A field of the request; without it, the client's address.
    Header(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    key: Key,
}

struct ConsistentHash {
    key: Key,
}

impl Plugin for ConsistentHash {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Self { key: config.key })
    }
}

impl PickBackend for ConsistentHash {
    fn pick_backend(&mut self, count: u32) -> Option<u32> {
        let key = match &self.key {
            Key::Client => exchange::client_address(),
            Key::Path => request::path(),
            Key::Header(name) => request::header(name).unwrap_or_else(exchange::client_address),
        };
        (0..count).max_by_key(|index| hash(&key, &backends::get(*index).address))
    }
}

/// FNV-1a, and a last stir so that every bit of the input reaches every bit of the hash.
fn hash(key: &str, address: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key.bytes().chain([0]).chain(address.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

lockgate_plugin::export!(ConsistentHash: PickBackend);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use lockgate_plugin::{configured, testing};

    /// Where each of 1000 clients goes.
    fn picks(addresses: &[&str]) -> Vec<String> {
        let mut plugin: ConsistentHash = configured(r#"{"key": "client"}"#).unwrap();
        let count = addresses.len() as u32;
        testing::host(|host| host.backends = addresses.iter().map(|address| testing::backend(address)).collect());
        let pick = |client: usize| {
            testing::host(|host| host.client_address = format!("10.0.{}.{}", client / 250, client % 250));
            addresses[plugin.pick_backend(count).unwrap() as usize].to_owned()
        };
        (0..1000).map(pick).collect()
    }

    #[test]
    fn load_is_even_and_only_those_move_whose_backend_went() {
        let all = picks(&["http://a", "http://b", "http://c", "http://d"]);
        let mut loads = BTreeMap::new();
        all.iter().for_each(|address| *loads.entry(address).or_insert(0) += 1);
        assert!(loads.values().all(|load| (190..310).contains(load)), "{loads:?}");

        let without_b = picks(&["http://d", "http://c", "http://a"]);
        for (before, after) in all.iter().zip(&without_b) {
            assert!(before == after || before == "http://b", "{before} became {after}");
        }
    }
}
