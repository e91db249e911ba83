//! Self-signed certificates for development, so that nobody needs another tool to try TLS.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

/// Why no certificate can be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate for {hosts}")]
pub struct Error {
    hosts: String,
    source: rcgen::Error,
}

/// Makes a certificate for these names and addresses, good from yesterday (clocks differ) for that many days.
///
/// # Errors
/// When a host is neither a name nor an address.
pub fn self_signed(hosts: &[String], days: u32) -> Result<Pair, Error> {
    let made = || {
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, hosts.first().map_or("lockgate", String::as_str));
        params.distinguished_name.push(DnType::OrganizationName, "Lockgate development");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let now = SystemTime::now();
        params.not_before = (now - DAY).into();
        params.not_after = (now + DAY * days).into();
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    };
    made().map_err(|source| Error { hosts: hosts.join(", "), source })
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_certificate_is_for_its_hosts_and_its_time() {
        let pair = self_signed(&["localhost".to_owned(), "::1".to_owned()], 30).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(pair.certificate.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        assert!(certificate.validity().is_valid());
        let left = certificate.validity().time_to_expiration().unwrap();
        assert!(left.whole_days() >= 29 && left.whole_days() <= 30, "{left:?}");
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 2);
        assert!(!certificate.is_ca());
        assert!(pair.key.starts_with("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn what_is_not_a_host_is_refused() {
        let error = self_signed(&["caf\u{e9}".to_owned()], 1).unwrap_err();
        assert_eq!(error.to_string(), "cannot make a certificate for caf\u{e9}");
    }
}
