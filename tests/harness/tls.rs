//! TLS for servers of a test's own, by an authority of its own.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A connection that such a server has accepted.
pub(crate) type Secure = StreamOwned<ServerConnection, TcpStream>;

/// A certificate for localhost and 127.0.0.1.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    config: Arc<ServerConfig>,
    /// PEM of the authority, of the certificate and of its key.
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes one, with its files in `dir`.
    ///
    /// # Panics
    /// If a file can't be written.
    pub(crate) fn new(dir: &Path) -> Certificate {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority for tests");
        let key = KeyPair::generate().expect("a key");
        let ca = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let mut params = Certificate::params();
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &ca).expect("a certificate");
        Certificate::with(dir, &ca.pem(), &certificate, &key)
    }

    /// One that is its own authority, as `openssl req -x509` makes it.
    ///
    /// # Panics
    /// If a file can't be written.
    pub(crate) fn own_authority(dir: &Path) -> Certificate {
        let mut params = Certificate::params();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Certificate::with(dir, &certificate.pem(), &certificate, &key)
    }

    fn params() -> CertificateParams {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params
    }

    fn with(dir: &Path, ca: &str, certificate: &rcgen::Certificate, key: &KeyPair) -> Certificate {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .expect("a configuration");
        let file = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        Certificate {
            config: Arc::new(config),
            ca: file("authority.pem", ca),
            certificate: file("certificate.pem", &certificate.pem()),
            key: file("key.pem", &key.serialize_pem()),
        }
    }

    /// The server's side of a connection; the handshake comes with the first read.
    pub(crate) fn accept(&self, socket: TcpStream) -> Secure {
        let connection = ServerConnection::new(self.config.clone()).expect("a connection");
        StreamOwned::new(connection, socket)
    }
}
