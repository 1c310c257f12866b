//! The ways around the allow-list, each tried by a real guest: nothing is dialled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::net::{IpAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use outrigger::invoke::{Addresses, Pool, Resolve};
use outrigger::manifest::Handler;
use support::server::{Reply, Server, ok, plain};
use support::*;

/// Answers as it is told, and counts.
#[derive(Default)]
struct Names {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    /// The answers in their order; the last one is repeated.
    fn answering(answers: &[&[&str]]) -> Arc<Names> {
        let read = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Names { answers: Mutex::new(answers.iter().map(read).collect()), asked: Mutex::default() })
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Resolve for Names {
    fn resolve(&self, name: &str) -> Addresses {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers.first().cloned().unwrap_or_default() };
        Box::pin(async move { Ok(answer) })
    }
}

/// Loopback in both families on one port, so that whatever gets through is seen.
struct Trap {
    v4: Server,
    v6: Option<Server>,
}

impl Trap {
    fn set() -> Trap {
        let v4 = Server::start(|_, _| ok("inside"));
        let v6 =
            TcpListener::bind(("::1", v4.port())).ok().map(|listener| Server::on(listener, plain, |_, _| ok("inside")));
        Trap { v4, v6 }
    }

    fn port(&self) -> u16 {
        self.v4.port()
    }

    fn connections(&self) -> usize {
        self.v4.connections() + self.v6.as_ref().map_or(0, Server::connections)
    }
}

fn pool_with(spec: &Handler, names: &Arc<Names>) -> Rc<Pool> {
    let module = engine().load(spec).unwrap_or_else(|error| panic!("{error}"));
    Pool::with_resolver(module, Arc::clone(names) as Arc<dyn Resolve>)
}

fn send(pool: &Rc<Pool>, request: &str) -> String {
    said(block_on(pool.call(call("send", request))))
}

#[test]
fn tricks_of_the_address_reach_nothing() {
    let trap = Trap::set();
    let port = trap.port();
    let names = Names::answering(&[&["127.0.0.1"]]);
    let allowed = [format!("http://allowed.test:{port}"), format!("http://10.255.255.1:{port}")];
    let pool = pool_with(&reaching(&[&allowed[0], &allowed[1]]), &names);
    let table = [
        ("not listed", "127.0.0.1:P"),
        ("not listed, by name", "localhost:P"),
        ("a name below the listed one", "sub.allowed.test:P"),
        ("a name that ends in the listed one", "notallowed.test:P"),
        ("another port", "allowed.test:1"),
        ("the scheme's own port", "allowed.test"),
        ("decimal", "2130706433:P"),
        ("hexadecimal", "0x7f000001:P"),
        ("hexadecimal parts", "0x7f.0.0.0x1:P"),
        ("octal", "0177.0.0.1:P"),
        ("octal with zeros", "0000177.0.0.1:P"),
        ("short", "127.1:P"),
        ("zero", "0:P"),
        ("unspecified", "0.0.0.0:P"),
        ("unspecified IPv6", "[::]:P"),
        ("loopback IPv6", "[::1]:P"),
        ("loopback IPv6, long", "[0:0:0:0:0:0:0:1]:P"),
        ("IPv4-mapped", "[::ffff:127.0.0.1]:P"),
        ("IPv4-mapped, hexadecimal", "[::ffff:7f00:1]:P"),
        ("IPv4-compatible", "[::127.0.0.1]:P"),
        ("IPv4-translated", "[::ffff:0:127.0.0.1]:P"),
        ("NAT64", "[64:ff9b::7f00:1]:P"),
        ("NAT64, local prefix", "[64:ff9b:1::7f00:1]:P"),
        ("6to4", "[2002:7f00:1::]:P"),
        ("Teredo", "[2001:0:7f00:1::]:P"),
        ("zone", "[fe80::1%25lo]:P"),
        ("trailing dot", "allowed.test.:P"),
        ("trailing dot of an address", "127.0.0.1.:P"),
        ("user", "allowed.test@127.0.0.1:P"),
        ("user and port", "allowed.test:P@127.0.0.1:P"),
        ("user and password", "allowed.test:80@localhost:P"),
        ("upper case", "ALLOWED.TEST:P"),
        ("upper case, not listed", "LOCALHOST:P"),
        ("unicode digits", "①②⑦.⓪.⓪.①:P"),
        ("unicode dots", "127。0。0。1:P"),
        ("unicode letters", "ⓛocalhost:P"),
        ("punycode", "xn--ocalhost-5ze:P"),
        ("percent-encoded", "%31%32%37.0.0.1:P"),
        ("percent-encoded dot", "allowed%2Etest:P"),
        ("NUL", "allowed.test%00.evil:P"),
        ("empty port", "allowed.test:"),
        ("port 0", "allowed.test:0"),
        ("port with zeros", "allowed.test:0P"),
        ("port with a sign", "allowed.test:+P"),
        ("port too large", "allowed.test:99999"),
        ("two ports", "allowed.test:P:P"),
        ("path in the authority", "allowed.test:P/@127.0.0.1:P"),
        ("backslash", "127.0.0.1:P\\@allowed.test:P"),
        ("fragment", "127.0.0.1:P#@allowed.test:P"),
        ("query", "127.0.0.1:P?@allowed.test:P"),
        ("no host", ":P"),
        ("nothing", ""),
        ("metadata", "169.254.169.254"),
        ("metadata IPv6", "[fd00:ec2::254]"),
        ("multicast", "224.0.0.1:P"),
        ("broadcast", "255.255.255.255:P"),
    ];
    for (what, authority) in table {
        let authority = authority.replace('P', &port.to_string());
        let answer = send(&pool, &format!("GET http {authority} /"));
        let refused = ["refused", "HttpRequestDenied", "HttpRequestUriInvalid", "HttpProtocolError"];
        assert!(refused.iter().any(|word| answer.contains(word)), "{what}: {authority}: {answer}");
    }
    assert_eq!((trap.connections(), names.asked()), (0, 0), "nothing was dialled, and no name looked up");

    let answer = send(&pool, &format!("GET http allowed.test:{port} /"));
    assert!(answer.contains("DestinationIpProhibited"), "the listed name, which leads to loopback: {answer}");
    assert_eq!((trap.connections(), names.asked()), (0, 1));

    let open = pool_with(&reaching(&[&trap.v4.origin()]), &names);
    assert_eq!(
        send(&open, &format!("GET http 127.0.0.1:{port} /")),
        "200 inside",
        "the control: listed, it is reached"
    );
    assert_eq!(trap.connections(), 1);
}

#[test]
fn tricks_of_the_request_reach_nothing() {
    let trap = Trap::set();
    let port = trap.port();
    let pool = pool_with(&reaching(&[&trap.v4.origin()]), &Names::answering(&[]));
    for (what, request) in [
        ("CONNECT", "CONNECT http 127.0.0.1:P /"),
        ("TRACE", "TRACE http 127.0.0.1:P /"),
        ("TRACE in lower case", "trace http 127.0.0.1:P /"),
        ("HTTP/2's preface", "PRI http 127.0.0.1:P /"),
        ("a method that is none", "GET\t/x http 127.0.0.1:P /"),
        ("another scheme", "GET https 127.0.0.1:P /"),
        ("a scheme that is none", "GET file 127.0.0.1:P /"),
        ("another server in the path", "GET http 127.0.0.1:P http://evil/"),
        ("a path without /", "GET http 127.0.0.1:P @evil/"),
        ("a line break in the path", "GET http 127.0.0.1:P /\u{b}HTTP/1.1"),
        ("Host", "GET http 127.0.0.1:P /\nHost: evil"),
        ("Connection", "GET http 127.0.0.1:P /\nConnection: upgrade"),
        ("Upgrade", "GET http 127.0.0.1:P /\nUpgrade: h2c"),
        ("Transfer-Encoding", "POST http 127.0.0.1:P /\nTransfer-Encoding: chunked"),
        ("Transfer-Encoding, odd", "POST http 127.0.0.1:P /\ntransfer-encoding: xchunked"),
        ("Proxy-Authorization", "GET http 127.0.0.1:P /\nProxy-Authorization: x"),
        ("TE", "GET http 127.0.0.1:P /\nTE: trailers"),
        ("Trailer", "GET http 127.0.0.1:P /\nTrailer: x"),
        ("Expect", "POST http 127.0.0.1:P /\nExpect: 100-continue"),
        ("two lengths", "POST http 127.0.0.1:P /\nContent-Length: 1\nContent-Length: 2"),
        ("a length that is none", "POST http 127.0.0.1:P /\nContent-Length: +1"),
        ("a length without a body", "POST http 127.0.0.1:P /\nContent-Length: 9"),
        ("a field with a line break", "GET http 127.0.0.1:P /\nx: y\rHost: evil"),
    ] {
        let answer = send(&pool, &request.replace(":P", &format!(":{port}")));
        assert!(!answer.starts_with("200"), "{what}: {answer}");
    }
    assert_eq!(trap.connections(), 0, "nothing was dialled");
    let answer = send(&pool, &format!("GET http 127.0.0.1:{port} /a?b\nX-Mine: 1"));
    assert_eq!(answer, "200 inside", "the control");
    let request = trap.v4.requests().remove(0).to_lowercase();
    assert!(request.starts_with("get /a?b http/1.1\r\n") && request.contains("x-mine: 1\r\n"), "{request}");
    assert_eq!(request.matches("host: ").count(), 1, "{request}");
    assert!(request.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{request}");
}

#[test]
fn what_a_name_resolves_to_is_checked_when_it_is_dialled() {
    let trap = Trap::set();
    let name = format!("http://rebind.test:{}", trap.port());
    let module = engine().load(&reaching(&[&name])).unwrap_or_else(|error| panic!("{error}"));
    for answer in [
        &["127.0.0.1"][..],
        &["::1"],
        &["192.0.2.1", "127.0.0.1"],
        &["127.0.0.1", "192.0.2.1"],
        &["0.0.0.0"],
        &["::"],
        &["::ffff:127.0.0.1"],
        &["::127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::1"],
        &["169.254.169.254"],
        &["fd00:ec2::254"],
        &["fe80::1"],
        &["224.0.0.1"],
        &["255.255.255.255"],
    ] {
        let names = Names::answering(&[answer]);
        let pool = Pool::with_resolver(Arc::clone(&module), Arc::clone(&names) as Arc<dyn Resolve>);
        let said = send(&pool, &format!("GET http rebind.test:{} /", trap.port()));
        assert!(said.contains("DestinationIpProhibited"), "{answer:?}: {said}");
        assert_eq!(names.asked(), 1, "{answer:?}: resolved once");
    }
    assert_eq!(trap.connections(), 0);
}

#[test]
fn a_name_that_is_rebound_is_refused_from_then_on() {
    let server = Server::start(|_, _| Reply::SayAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()));
    let name = format!("http://rebind.test:{}", server.port());
    // First where it may go, as its address is listed too; then to the metadata.
    let names = Names::answering(&[&["127.0.0.1"], &["169.254.169.254"], &["127.0.0.1"]]);
    let pool = pool_with(&reaching(&[&name, &server.origin()]), &names);
    let request = format!("GET http rebind.test:{} /", server.port());
    assert_eq!(send(&pool, &request), "200 ok");
    assert!(send(&pool, &request).contains("DestinationIpProhibited"));
    assert_eq!(send(&pool, &request), "200 ok");
    assert_eq!((names.asked(), server.connections()), (3, 2), "resolved once for each connection");
    let host = format!("host: rebind.test:{}\r\n", server.port());
    assert!(server.requests().iter().all(|request| request.to_lowercase().contains(&host)));
}

#[test]
fn redirects_are_the_guests_to_follow() {
    let inside = Server::start(|_, _| ok("inside"));
    let location = format!("HTTP/1.1 302 Found\r\nLocation: {}/\r\nContent-Length: 0\r\n\r\n", inside.origin());
    let outside = Server::start(move |_, _| Reply::Say(location.clone().into_bytes()));
    let pool = pool_with(&reaching(&[&outside.origin()]), &Names::answering(&[]));
    assert_eq!(send(&pool, &format!("GET http {} /", outside.address)), "302 ");
    assert!(send(&pool, &format!("GET http {} /", inside.address)).contains("HttpRequestDenied"));
    assert_eq!((outside.connections(), inside.connections()), (1, 0));
}

#[test]
fn the_processs_own_ports_are_reached_only_where_the_address_is_listed() {
    let Some(local) = local_address() else { return };
    // The machine's own address by another way than loopback.
    let server =
        TcpListener::bind((local, 0)).map(|listener| Server::on(listener, plain, |_, _| ok("metrics"))).unwrap();
    let name = format!("http://me.test:{}", server.port());
    let request = format!("GET http me.test:{} /", server.port());
    let names = Names::answering(&[&[&local.to_string()]]);
    let mut spec = reaching(&[&name]);
    assert_eq!(send(&pool_with(&spec, &names), &request), "200 metrics", "a port of somebody else's");
    spec.allow.http.as_mut().unwrap().own_ports = vec![server.port()];
    assert!(send(&pool_with(&spec, &names), &request).contains("DestinationIpProhibited"));
    let mut listed = reaching(&[&name, &server.origin()]);
    listed.allow.http.as_mut().unwrap().own_ports = vec![server.port()];
    assert_eq!(send(&pool_with(&listed, &names), &request), "200 metrics");
}

/// An address of this machine that is not loopback, where it has one. Nothing is sent.
fn local_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn an_empty_list_refuses_every_request() {
    let trap = Trap::set();
    let names = Names::answering(&[&["127.0.0.1"]]);
    let pool = pool_with(&reaching(&[]), &names);
    for authority in [trap.v4.address.to_string(), "example.com".to_owned()] {
        assert!(send(&pool, &format!("GET http {authority} /")).contains("HttpRequestDenied"));
    }
    assert_eq!((trap.connections(), names.asked()), (0, 0));
}
