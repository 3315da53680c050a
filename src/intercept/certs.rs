//! The session's certificate authority, and which servers the host trusts.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, ServerConfig,
    SignatureScheme,
};
use webpki::EndEntityCert;

use crate::error::{Error, Result};

/// Most names whose certificates are kept.
const NAMES_MAX: usize = 4096;

/// A certificate authority of one session. Its key is nowhere but here.
pub(crate) struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
    /// Key of all certificates that it signs.
    key: KeyPair,
    /// Certificates by their names.
    made: Mutex<HashMap<Vec<String>, Arc<CertifiedKey>>>,
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

    /// How the host answers a guest in the place of a server with these names, and the protocol
    /// that the server has agreed on.
    ///
    /// # Errors
    /// A name that can't stand in a certificate.
    pub(crate) fn server(
        &self,
        names: Vec<String>,
        alpn: Option<&[u8]>,
    ) -> Result<Arc<ServerConfig>> {
        let resolver = SingleCertAndKey::from(self.certificate(names)?);
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
        Ok(Arc::new(config))
    }

    fn certificate(&self, names: Vec<String>) -> Result<Arc<CertifiedKey>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = made.get(&names) {
            return Ok(key.clone());
        }
        let mut params = CertificateParams::new(names.clone()).map_err(failed)?;
        // The subject is no longer looked at, and has room for 64 characters only.
        let common: String = names.first().into_iter().flat_map(|n| n.chars()).take(64).collect();
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
        made.insert(names, certified.clone());
        Ok(certified)
    }
}

/// Most names of one certificate that are copied.
const COPIED_MAX: usize = 100;

/// The names that the session's certificate has in the place of a server's: `name`, if the server
/// was verified by it, and the host names of the server's own.
pub(super) fn names(
    name: &str,
    verified: bool,
    certificate: Option<&CertificateDer<'_>>,
) -> Vec<String> {
    let parsed = certificate.and_then(|der| EndEntityCert::try_from(der).ok());
    let mut names: Vec<String> = verified.then(|| name.to_owned()).into_iter().collect();
    for other in parsed.iter().flat_map(|parsed| parsed.valid_dns_names()).take(COPIED_MAX) {
        if other != name || !verified {
            names.push(other.to_owned());
        }
    }
    names
}

/// Verifies servers as usual; one that the guest did not name, by the names it has itself: the
/// guest, which gets a certificate with the same names, decides about them.
#[derive(Debug)]
pub(super) struct Verifier {
    usual: Arc<WebPkiServerVerifier>,
    users: Arc<HashSet<CertificateDer<'static>>>,
    /// Whether the guest has named the server.
    named: bool,
    /// Whether the server's name was verified.
    pub(super) by_name: AtomicBool,
}

impl Verifier {
    /// An authority that answers as a server itself (what `openssl req -x509` makes for a server
    /// under development) is trusted if it stands in a bundle of the user's, as by OpenSSL. Its
    /// time was verified before it was found to be an authority.
    fn is_users_own(
        &self,
        e: &rustls::Error,
        end_entity: &CertificateDer<'_>,
        name: &ServerName<'_>,
    ) -> Option<ServerCertVerified> {
        let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(e))) = e else {
            return None;
        };
        let authority = e.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity);
        let parsed = EndEntityCert::try_from(end_entity).ok()?;
        let named = parsed.verify_is_valid_for_subject_name(name).is_ok();
        let users = authority && named && self.users.contains(end_entity);
        users.then(ServerCertVerified::assertion)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let by = |name: &ServerName<'_>| {
            let usual = self.usual.verify_server_cert(end_entity, intermediates, name, ocsp, now);
            usual.or_else(|e| self.is_users_own(&e, end_entity, name).ok_or(e))
        };
        match by(name) {
            Ok(verified) => {
                self.by_name.store(true, Ordering::Release);
                Ok(verified)
            }
            Err(e) if self.named => Err(e),
            Err(e) => {
                let own = EndEntityCert::try_from(end_entity).ok();
                let first = own.iter().flat_map(|cert| cert.valid_dns_names()).next();
                let first = first.map(|name| name.replacen('*', "any", 1));
                let first = first.and_then(|name| ServerName::try_from(name).ok());
                first.map_or(Err(e), |name| by(&name))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// How the host talks to servers: it trusts the machine's certificates, and those that the
/// guest's environment names.
pub(super) struct Servers {
    usual: Arc<WebPkiServerVerifier>,
    /// The certificates that the guest's environment names.
    users: Arc<HashSet<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
}

impl Servers {
    /// Reads the certificates.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn new(bundles: &[PathBuf]) -> Result<Servers> {
        let mut roots = RootCertStore::empty();
        // What can't be read or parsed is no trust lost: servers that need it stay opaque.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let read = bundles.iter().filter_map(|path| CertificateDer::pem_file_iter(path).ok());
        let users: HashSet<CertificateDer<'static>> = read.flatten().flatten().collect();
        roots.add_parsable_certificates(users.iter().cloned());
        let provider = Arc::new(default_provider());
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(failed)?;
        Ok(Servers { usual, users: Arc::new(users), provider })
    }

    /// How one connection talks; `named`: the guest has named the server.
    ///
    /// # Errors
    /// Without the cipher suites it needs.
    pub(super) fn client(&self, named: bool) -> Result<(ClientConfig, Arc<Verifier>)> {
        let by_name = AtomicBool::new(false);
        let (usual, users) = (self.usual.clone(), self.users.clone());
        let verifier = Arc::new(Verifier { usual, users, named, by_name });
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        // A resumed session shows no certificate.
        config.resumption = Resumption::disabled();
        Ok((config, verifier))
    }
}
