//! TLS on both sides, by rustls (TLS 1.2 and 1.3).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use gatepost_mail::Tls;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore, ServerConfig,
    SignatureScheme, WantsVerifier,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::net::Stream;

/// The client side: how we check the next hop.
#[derive(Clone)]
pub struct ClientTls(TlsConnector);

impl ClientTls {
    /// With the system's authorities, or without any check of the certificate.
    pub fn new(verify: bool) -> ClientTls {
        static VERIFIED: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        static UNVERIFIED: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        let config = match verify {
            true => VERIFIED.get_or_init(|| {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                Arc::new(builder().with_root_certificates(roots).with_no_client_auth())
            }),
            false => UNVERIFIED.get_or_init(|| {
                let accept = Arc::new(AcceptAny(provider()));
                let builder = builder().dangerous().with_custom_certificate_verifier(accept);
                Arc::new(builder.with_no_client_auth())
            }),
        };
        ClientTls(TlsConnector::from(config.clone()))
    }

    /// Handshakes over a connected stream.
    pub async fn connect(&self, host: &str, stream: Stream) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(self.0.connect(name, stream).await?))
    }
}

/// The server side: a certificate that is read again when its files change.
pub struct ServerTls {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<(Stamp, Arc<ServerConfig>)>,
}

/// Times of last change of both files.
type Stamp = [Option<SystemTime>; 2];

impl ServerTls {
    /// Reads the chain and the key; the error says which file and why.
    pub fn load(certificate: &Path, key: &Path) -> Result<ServerTls, String> {
        let stamp = stamp(certificate, key);
        let config = server_config(certificate, key)?;
        let current = ArcSwap::from_pointee((stamp, Arc::new(config)));
        Ok(ServerTls { certificate: certificate.into(), key: key.into(), current })
    }

    /// Takes changed files; with an error in them the old certificate stays.
    pub fn reload_if_changed(&self) -> Option<Result<(), String>> {
        let stamp = stamp(&self.certificate, &self.key);
        let current = self.current.load();
        if current.0 == stamp {
            return None;
        }
        Some(match server_config(&self.certificate, &self.key) {
            Ok(config) => {
                self.current.store(Arc::new((stamp, Arc::new(config))));
                Ok(())
            }
            Err(error) => {
                // Said once, not every few seconds until somebody mends it.
                self.current.store(Arc::new((stamp, current.1.clone())));
                Err(error)
            }
        })
    }

    /// Handshakes with a client.
    pub async fn accept(&self, stream: Stream) -> io::Result<(Stream, Tls)> {
        let acceptor = TlsAcceptor::from(self.current.load().1.clone());
        let stream = acceptor.accept(stream).await?;
        let (_, session) = stream.get_ref();
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let cipher = session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        let tls = Tls { version: version.into(), cipher: cipher.unwrap_or_default() };
        Ok((Box::new(stream), tls))
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(ring::default_provider())).clone()
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring offers cipher suites for TLS 1.2 and 1.3")
}

/// A client's side for libraries that want it as such: with the authorities of a file or the system's, or without any
/// check of the certificate.
pub fn client_config(verify: bool, authorities: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(file) => {
            let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| told(&error))? {
                let certificate = certificate.map_err(|error| told(&error))?;
                roots.add(certificate).map_err(|error| told(&error))?;
            }
        }
        None if verify => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        None => {}
    }
    if verify {
        return Ok(Arc::new(builder().with_root_certificates(roots).with_no_client_auth()));
    }
    let accept = Arc::new(AcceptAny(provider()));
    let builder = builder().dangerous().with_custom_certificate_verifier(accept);
    Ok(Arc::new(builder.with_no_client_auth()))
}

fn server_config(certificate: &Path, key: &Path) -> Result<ServerConfig, String> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("{}: {error}", certificate.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: no certificate in it", certificate.display()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()))
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
}

/// For a next hop whose certificate the administrator chose not to have checked: signatures still are, names not.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
