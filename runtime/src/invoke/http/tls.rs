//! TLS to the servers: by the system's roots, or by those that the manifest gives.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto};
use wasmtime_wasi_http::Error;

use crate::manifest::{Certificates, Host};

/// How servers are verified.
///
/// # Errors
/// There are no roots to verify them by.
pub(super) fn config(ca: Option<&Certificates>) -> Result<Arc<ClientConfig>, String> {
    let roots = match ca {
        Some(Certificates(ca)) => Arc::new(roots(ca.iter().map(|one| CertificateDer::from(one.clone())))?),
        None => system()?,
    };
    client(roots)
}

/// The system's roots. Reading them takes tens of milliseconds, so that it is done once; where
/// there were none, they may have been installed since.
fn system() -> Result<Arc<RootCertStore>, String> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = SYSTEM.get() {
        return Ok(Arc::clone(roots));
    }
    let found = rustls_native_certs::load_native_certs();
    let why = found.errors.first().map(ToString::to_string).unwrap_or_default();
    let read = roots(found.certs.into_iter()).map_err(|error| {
        let why = if why.is_empty() { error } else { why };
        format!(
            "`allow.http` has an https address, and the system has no root certificates ({why}); \
             install them (ca-certificates) or name a file with `httpCa`"
        )
    })?;
    Ok(Arc::clone(SYSTEM.get_or_init(|| Arc::new(read))))
}

fn roots(certificates: impl Iterator<Item = CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates);
    if store.is_empty() { Err("there are none".to_owned()) } else { Ok(store) }
}

/// Of one handler: sessions that servers let it go on with are its own.
fn client(roots: Arc<RootCertStore>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = versions.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Shakes hands. The name verified is the one that the request is for, not what
/// it resolved to.
pub(super) async fn handshake(
    config: Arc<ClientConfig>,
    host: &Host,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Error> {
    let name = match host {
        Host::Name(name) => ServerName::try_from(name.to_string()).map_err(|_| Error::HttpRequestUriInvalid)?,
        Host::Ip(address) => ServerName::IpAddress((*address).into()),
    };
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| of_io(&error))
}

fn of_io(error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: alert.as_str().map(str::to_owned),
        },
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}
