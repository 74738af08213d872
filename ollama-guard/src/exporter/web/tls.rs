//! Encryption by rustls.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::file::{ClientAuth, Tls, Version};

/// The key at fault, and why.
type Fault = (&'static str, String);

/// What `tls_server_config` asks for.
pub(super) fn acceptor(written: &Tls) -> Result<TlsAcceptor, Fault> {
    const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    let versions = match written.min_version {
        Version::Tls12 => &BOTH[..],
        Version::Tls13 => &BOTH[..1],
    };
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions);
    let builder = builder.map_err(|error| ("min_version", error.to_string()))?;
    let builder = match (written.client_auth_type, &written.client_ca_file) {
        (ClientAuth::NoClientCert, None) => builder.with_no_client_auth(),
        (ClientAuth::NoClientCert, Some(_)) => {
            let next = "set client_auth_type: RequireAndVerifyClientCert, or remove it";
            return Err(("client_ca_file", format!("is there, but no client has to show a certificate: {next}")));
        }
        (_, None) => return Err(("client_ca_file", "is missing: whose certificates are to be accepted?".to_owned())),
        (auth, Some(file)) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("client_ca_file", file)? {
                roots.add(certificate).map_err(failed("client_ca_file", file))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let optional = auth == ClientAuth::VerifyClientCertIfGiven;
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(failed("client_ca_file", file))?)
        }
    };
    let chain = certificates("cert_file", &written.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&written.key_file).map_err(failed("key_file", &written.key_file))?;
    let mut config = builder.with_single_cert(chain, key).map_err(failed("key_file", &written.key_file))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(failed(key, file))?;
    if found.is_empty() { Err(failed(key, file)("holds no certificate")) } else { Ok(found) }
}

fn failed<E: Display>(key: &'static str, file: &Path) -> impl Fn(E) -> Fault {
    move |error| (key, format!("{}: {error}", file.display()))
}
