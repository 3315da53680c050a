//! The session's certificate authority, and which servers the host trusts.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::error::{Error, Result};

/// Most names whose certificates are kept.
const NAMES_MAX: usize = 4096;

/// A certificate authority of one session. Its key is nowhere but here.
pub(crate) struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
    /// Key of all certificates that it signs.
    key: KeyPair,
    made: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

fn failed(e: impl std::error::Error) -> Error {
    Error::Machine { doing: "make the session's certificates".into(), reason: e.to_string() }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// The system's, without randomness.
    pub(crate) fn new() -> Result<Authority> {
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "rr-run session CA");
        let ca = KeyPair::generate()
            .and_then(|key| CertifiedIssuer::self_signed(params, key))
            .map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        Ok(Authority { ca, key, made: Mutex::default() })
    }

    /// Its own certificate, for guests to trust.
    pub(crate) fn pem(&self) -> String {
        self.ca.pem()
    }

    /// Its own certificate, binary.
    pub(super) fn der(&self) -> &CertificateDer<'static> {
        self.ca.der()
    }

    /// How the host answers a guest that asks for `name` (a host's name or an address), with the
    /// protocol that the server has agreed on.
    ///
    /// # Errors
    /// A name that can't stand in a certificate.
    pub(crate) fn server(&self, name: &str, alpn: Option<&[u8]>) -> Result<Arc<ServerConfig>> {
        let resolver = SingleCertAndKey::from(self.certificate(name)?);
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
        Ok(Arc::new(config))
    }

    fn certificate(&self, name: &str) -> Result<Arc<CertifiedKey>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = made.get(name) {
            return Ok(key.clone());
        }
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failed)?;
        // The subject is no longer looked at, and has room for 64 characters only.
        let common: String = name.chars().take(64).collect();
        params.distinguished_name.push(DnType::CommonName, common);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&self.key, &self.ca).map_err(failed)?;
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der()).into();
        let key = any_supported_type(&key).map_err(failed)?;
        let certified = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key));
        if made.len() >= NAMES_MAX {
            made.clear();
        }
        made.insert(name.to_owned(), certified.clone());
        Ok(certified)
    }
}

/// How the host talks to servers: it trusts the machine's certificates, and those that the
/// guest's environment names.
///
/// # Errors
/// Without the cipher suites it needs.
pub(super) fn client(bundles: &[PathBuf]) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // What can't be read or parsed is no trust lost: servers that need it stay opaque.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in bundles {
        if let Ok(certificates) = CertificateDer::pem_file_iter(path) {
            roots.add_parsable_certificates(certificates.flatten());
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
