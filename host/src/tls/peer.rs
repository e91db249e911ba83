//! What a client's certificate says.

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// A client's certificate, which has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Whom it is for: `CN=shop, O=Example`.
    pub subject: String,
    /// Its alternative names, with what each is: `DNS:a.example.com`, `URI:spiffe://..`, `email:..`, `IP:..`.
    pub names: Vec<String>,
    /// The SHA-256 of its bytes, in hex.
    pub fingerprint: String,
    /// Its serial number, in hex.
    pub serial: String,
    /// The last second in which it is valid, since 1970.
    pub not_after: u64,
}

impl ClientCertificate {
    /// None if it cannot be read, or is not valid any more: a session that is resumed brings it from the past.
    pub(super) fn of(leaf: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        if !certificate.validity().is_valid() {
            return None;
        }
        let names = match certificate.subject_alternative_name() {
            Ok(Some(extension)) => extension.value.general_names.iter().filter_map(name).collect(),
            Ok(None) => Vec::new(),
            Err(_) => return None,
        };
        Some(Self {
            subject: certificate.subject().to_string(),
            names,
            fingerprint: hex(&Sha256::digest(leaf)),
            serial: hex(&certificate.serial.to_bytes_be()),
            not_after: u64::try_from(certificate.validity().not_after.timestamp()).ok()?,
        })
    }

    /// As Envoy's `x-forwarded-client-cert` has it: `Hash=..;Subject="..";URI=..;DNS=..`. None if a field cannot hold it.
    #[must_use]
    pub fn forwarded(&self) -> Option<http::HeaderValue> {
        let mut text = format!("Hash={};Subject=\"{}\"", self.fingerprint, quoted(&self.subject));
        for name in &self.names {
            let (key, value) = match name.split_once(':') {
                Some(("URI", value)) => ("URI", value),
                Some(("DNS", value)) => ("DNS", value),
                _ => continue,
            };
            text.push_str(&format!(";{key}=\"{}\"", quoted(value)));
        }
        http::HeaderValue::from_str(&text).ok()
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::URI(uri) => Some(format!("URI:{uri}")),
        GeneralName::RFC822Name(address) => Some(format!("email:{address}")),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from)).ok()?;
            Some(format!("IP:{address}"))
        }
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forwarded_cannot_end_its_own_quotes() {
        let certificate = ClientCertificate {
            subject: "CN=a\";By=evil".into(),
            names: vec!["DNS:a.test".into(), "email:a@b".into(), "URI:spiffe://a/\"b".into()],
            fingerprint: "ab".into(),
            serial: "01".into(),
            not_after: 0,
        };
        let told = certificate.forwarded();
        let told = told.as_ref().and_then(|told| told.to_str().ok());
        assert_eq!(told, Some("Hash=ab;Subject=\"CN=a\\\";By=evil\";DNS=\"a.test\";URI=\"spiffe://a/\\\"b\""));
    }
}
