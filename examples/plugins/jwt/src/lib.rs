//! Lets in requests with a JSON Web Token (RFC 7519) that is signed with HS256 or RS256 and good now. Keys are a secret of the
//! configuration, or those at a JWKS address, which are fetched once in a while. The backend is told who it is in `x-user`.

mod jwks;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use lockgate_plugin::{Answer, OnRequest, Plugin, Verdict, clock, log, request};
use rsa::pkcs1v15::Signature;
use rsa::signature::Verifier;
use serde_json::Value;
use sha2::Sha256;

#[derive(serde::Deserialize)]
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
    keys: Option<jwks::Keys>,
}

impl Plugin for Jwt {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        match (&config.secret, &config.jwks) {
            (None, None) => Err("secret: there must be one, or an address in jwks".to_owned()),
            (Some(secret), _) if secret.len() < 32 => Err("secret: must have 32 bytes (RFC 7518 §3.2)".to_owned()),
            (_, jwks) => Ok(Self { keys: jwks.clone().map(jwks::Keys::at), config }),
        }
    }
}

impl OnRequest for Jwt {
    fn on_request(&mut self) -> Verdict {
        // Whoever claims to be somebody without a token is nobody.
        let _ = request::remove_header("x-user");
        match self.user() {
            Ok(user) => {
                let _ = request::set_header("x-user", &user);
                Verdict::Proceed
            }
            Err(why) => {
                log::info!("not let in: {why}");
                let headers = vec![("www-authenticate".to_owned(), "Bearer error=\"invalid_token\"".to_owned())];
                Verdict::Answer(Answer { status: 401, headers, body: Vec::new() })
            }
        }
    }
}

impl Jwt {
    fn user(&mut self) -> Result<String, String> {
        let field = request::header("authorization").ok_or("no token")?;
        let token = field.strip_prefix("Bearer ").ok_or("not a bearer token")?.trim();
        let (signed, signature) = token.rsplit_once('.').ok_or("not a token")?;
        let (header, claims) = signed.split_once('.').ok_or("not a token")?;
        let (header, claims) = (json(header)?, json(claims)?);
        let signature = BASE64.decode(signature).map_err(|_| "the signature is not base64url")?;
        // Which kind of key it is is for the configuration to say, never for the token alone.
        let good = match (header["alg"].as_str(), &self.config.secret, &mut self.keys) {
            (Some("HS256"), Some(secret), _) => {
                let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| "the secret is no key")?;
                mac.chain_update(signed).verify_slice(&signature).is_ok()
            }
            (Some("RS256"), _, Some(keys)) => {
                let signature = Signature::try_from(signature.as_slice()).map_err(|_| "no signature")?;
                keys.named(header["kid"].as_str().unwrap_or_default())?.verify(signed.as_bytes(), &signature).is_ok()
            }
            (other, ..) => return Err(format!("the algorithm {other:?} is not accepted")),
        };
        if !good {
            return Err("the signature is wrong".to_owned());
        }
        self.check(&claims)?;
        Ok(claims["sub"].as_str().unwrap_or_default().to_owned())
    }

    /// What is signed may still be for somebody else, or another day.
    fn check(&self, claims: &Value) -> Result<(), &'static str> {
        let now = clock::now() as f64 / 1e9;
        let is = |claim: &Value, own: &Option<String>| own.is_none() || claim.as_str() == own.as_deref();
        let audiences = claims["aud"].as_array().map_or(std::slice::from_ref(&claims["aud"]), Vec::as_slice);
        match () {
            () if claims["exp"].as_f64().is_none_or(|exp| exp <= now) => Err("it has expired"),
            () if claims["nbf"].as_f64().is_some_and(|nbf| nbf > now) => Err("it is not good yet"),
            () if !is(&claims["iss"], &self.config.issuer) => Err("it is another's"),
            () if !audiences.iter().any(|one| is(one, &self.config.audience)) => Err("it is for somebody else"),
            () => Ok(()),
        }
    }
}

/// A part of a token.
fn json(text: &str) -> Result<Value, String> {
    let json = BASE64.decode(text).map_err(|_| "not base64url")?;
    serde_json::from_slice(&json).map_err(|error| format!("not a token: {error}"))
}

lockgate_plugin::export!(Jwt: OnRequest);
