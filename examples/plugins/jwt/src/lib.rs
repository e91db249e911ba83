//! Lets in requests with a JSON Web Token (RFC 7519) that was signed with HS256 or RS256 and is good now. Keys are a secret of the
//! configuration, or those at a JWKS address, which are fetched once in a while. The backend is told who it is in `x-user`.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use lockgate_plugin::{Answer, OnRequest, Plugin, Verdict, clock, exchange, http_client, log, request};
use rsa::signature::Verifier;
use rsa::{BigUint, RsaPublicKey, pkcs1v15};
use serde::Deserialize;
use sha2::Sha256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// For HS256.
    secret: Option<String>,
    /// For RS256. Needs the grant `http`.
    jwks: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
}

struct Jwt {
    config: Config,
    keys: HashMap<String, pkcs1v15::VerifyingKey<Sha256>>,
    /// When the keys were fetched, by the clock that never goes back.
    fetched: Option<u64>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    iss: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    kid: String,
    n: Option<String>,
    e: Option<String>,
}

impl Plugin for Jwt {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        if config.secret.is_none() && config.jwks.is_none() {
            return Err("secret: there must be one, or an address in jwks".to_owned());
        }
        if config.secret.as_ref().is_some_and(|secret| secret.len() < 32) {
            return Err("secret: must have at least 32 bytes (RFC 7518 §3.2)".to_owned());
        }
        Ok(Self { config, keys: HashMap::new(), fetched: None })
    }
}

impl OnRequest for Jwt {
    fn on_request(&mut self) -> Verdict {
        // Whoever claims to be somebody without a token is nobody.
        let _ = request::remove_header("x-user");
        match self.check() {
            Ok(claims) => {
                let user = claims.sub.unwrap_or_default();
                exchange::set_note("user", &user[..user.len().min(256)]);
                let _ = request::set_header("x-user", &user);
                Verdict::Proceed
            }
            Err(why) => {
                log::info(&format!("not let in: {why}"));
                let challenge = "Bearer error=\"invalid_token\"".to_owned();
                let headers = vec![("www-authenticate".to_owned(), challenge)];
                Verdict::Answer(Answer { status: 401, headers, body: Vec::new() })
            }
        }
    }
}

impl Jwt {
    fn check(&mut self) -> Result<Claims, String> {
        let field = request::header("authorization").ok_or("no token")?;
        let token = field.strip_prefix("Bearer ").ok_or("not a bearer token")?.trim();
        let (signed, signature) = token.rsplit_once('.').ok_or("not a token")?;
        let (header, claims) = signed.split_once('.').ok_or("not a token")?;
        let header: Header = part(header)?;
        let signature = BASE64.decode(signature).map_err(|_| "the signature is not base64url")?;
        // Which kind of key it is is for the configuration to say, never for the token alone.
        let good = match (header.alg.as_str(), &self.config.secret, &self.config.jwks) {
            ("HS256", Some(secret), _) => {
                let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| "the secret is no key")?;
                mac.chain_update(signed).verify_slice(&signature).is_ok()
            }
            ("RS256", _, Some(_)) => {
                let key = self.key(&header.kid.unwrap_or_default())?;
                let signature = pkcs1v15::Signature::try_from(signature.as_slice()).map_err(|_| "no signature")?;
                key.verify(signed.as_bytes(), &signature).is_ok()
            }
            (other, ..) => return Err(format!("the algorithm {other:?} is not accepted")),
        };
        if !good {
            return Err("the signature is wrong".to_owned());
        }
        self.accept(part(claims)?)
    }

    /// What is signed may still be for somebody else, or another day.
    fn accept(&self, claims: Claims) -> Result<Claims, String> {
        let now = clock::now() as f64 / 1e9;
        if claims.exp.is_none_or(|exp| exp <= now) {
            return Err("it has expired".to_owned());
        }
        if claims.nbf.is_some_and(|nbf| nbf > now) {
            return Err("it is not good yet".to_owned());
        }
        if self.config.issuer.is_some() && claims.iss != self.config.issuer {
            return Err("it is another's".to_owned());
        }
        let meant = self.config.audience.as_ref().is_none_or(|own| match &claims.aud {
            Some(Audience::One(one)) => one == own,
            Some(Audience::Many(many)) => many.contains(own),
            None => false,
        });
        if meant { Ok(claims) } else { Err("it is for somebody else".to_owned()) }
    }

    /// The key of that name. A name that is not known, and time, have them fetched again, but not all the time.
    fn key(&mut self, id: &str) -> Result<&pkcs1v15::VerifyingKey<Sha256>, String> {
        let age = self.fetched.map_or(u64::MAX, |fetched| clock::monotonic() - fetched);
        if age > STALE || (age > SOON && !self.keys.contains_key(id)) {
            match self.fetch() {
                Ok(keys) => self.keys = keys,
                // Old keys are better than none while the server is away.
                Err(why) => log::warn(&format!("cannot fetch the keys: {why}")),
            }
            self.fetched = Some(clock::monotonic());
        }
        self.keys.get(id).ok_or_else(|| format!("no key is called {id:?}"))
    }

    fn fetch(&self) -> Result<HashMap<String, pkcs1v15::VerifyingKey<Sha256>>, String> {
        let url = self.config.jwks.as_deref().unwrap_or_default();
        let response = http_client::get(url).map_err(|error| error.to_string())?;
        if response.status != 200 {
            return Err(format!("{url} answers {}", response.status));
        }
        let body = response.bytes(1 << 20).map_err(|error| error.to_string())?;
        let jwks: Jwks = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let key = |jwk: Jwk| {
            let number = |text: &Option<String>| Some(BigUint::from_bytes_be(&BASE64.decode(text.as_ref()?).ok()?));
            let key = RsaPublicKey::new(number(&jwk.n)?, number(&jwk.e)?).ok().filter(|_| jwk.kty == "RSA")?;
            Some((jwk.kid, pkcs1v15::VerifyingKey::new(key)))
        };
        Ok(jwks.keys.into_iter().filter_map(key).collect())
    }
}

/// A part of a token.
fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let json = BASE64.decode(text).map_err(|_| "not base64url")?;
    serde_json::from_slice(&json).map_err(|error| format!("not a token: {error}"))
}

/// Nanoseconds after which keys are fetched again.
const STALE: u64 = 600_000_000_000;
/// Nanoseconds within which no key is asked for twice.
const SOON: u64 = 5_000_000_000;

lockgate_plugin::export!(Jwt: OnRequest);
