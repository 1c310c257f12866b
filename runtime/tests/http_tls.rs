//! TLS of a real guest's requests: whom it trusts, and for which name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::net::{IpAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use outrigger::invoke::{Addresses, Pool, Resolve};
use outrigger::manifest::{Certificates, Handler};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use support::server::{Server, ok};
use support::*;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};

/// An authority that vouches for servers.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// A server with a certificate for this name.
    fn server(&self, name: &str) -> Server {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let open = move |mut stream: TcpStream| {
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            while connection.is_handshaking() {
                connection.complete_io(&mut stream).ok()?;
            }
            Some(StreamOwned::new(connection, stream))
        };
        Server::on(TcpListener::bind("127.0.0.1:0").unwrap(), open, |_, _| ok("private"))
    }

    fn trusted(&self) -> Option<Certificates> {
        Some(Certificates(vec![self.certificate.clone()]))
    }
}

/// Every name is this machine.
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, _: &str) -> Addresses {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

/// A guest that may reach the server by two names and by its address.
fn pool_to(server: &Server, ca: Option<Certificates>) -> Rc<Pool> {
    let port = server.port();
    let origins = ["127.0.0.1", "secure.test", "other.test"].map(|host| format!("https://{host}:{port}"));
    let mut spec: Handler = reaching(&origins.each_ref().map(String::as_str));
    spec.allow.http.as_mut().unwrap().ca = ca;
    let module = engine().load(&spec).unwrap_or_else(|error| panic!("{error}"));
    Pool::with_resolver(module, Arc::new(Loopback))
}

fn get(pool: &Rc<Pool>, server: &Server, host: &str) -> String {
    said(block_on(pool.call(call("send", format!("GET https {host}:{} /", server.port())))))
}

#[test]
fn a_server_that_the_given_authority_vouches_for_is_reached() {
    let authority = Authority::new();
    let server = authority.server("secure.test");
    let pool = pool_to(&server, authority.trusted());
    assert_eq!(get(&pool, &server, "secure.test"), "200 private");
    let request = server.requests().remove(0).to_lowercase();
    assert!(request.contains(&format!("host: secure.test:{}\r\n", server.port())), "{request}");
}

#[test]
fn another_name_is_not_vouched_for() {
    let authority = Authority::new();
    let server = authority.server("secure.test");
    let pool = pool_to(&server, authority.trusted());
    for host in ["other.test", "127.0.0.1"] {
        assert!(get(&pool, &server, host).contains("TlsCertificateError"), "{host}");
    }
    assert_eq!(server.requests(), Vec::<String>::new(), "nothing was sent");
}

#[test]
fn an_address_can_be_vouched_for() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1");
    assert_eq!(get(&pool_to(&server, authority.trusted()), &server, "127.0.0.1"), "200 private");
}

#[test]
fn another_authority_is_not_trusted_and_neither_are_the_systems() {
    let authority = Authority::new();
    let server = authority.server("secure.test");
    let pool = pool_to(&server, Authority::new().trusted());
    assert!(get(&pool, &server, "secure.test").contains("TlsCertificateError"));
    assert_eq!(server.requests(), Vec::<String>::new(), "nothing was sent");
}

#[test]
fn a_server_without_tls_is_none() {
    let authority = Authority::new();
    let server = Server::start(|_, _| ok("plain"));
    let pool = pool_to(&server, authority.trusted());
    let origin = format!("GET https secure.test:{} /\nconnect-timeout: 200", server.port());
    let answer = said(block_on(pool.call(call("send", origin))));
    assert!(answer.contains("Tls") || answer.contains("ConnectionTimeout"), "{answer}");
    assert_eq!(server.requests(), Vec::<String>::new(), "no request in plain text");
}
