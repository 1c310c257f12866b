use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::*;

struct Served {
    server: ProbeServer,
    health: Health,
    metrics: Metrics,
}

fn served() -> Served {
    served_with(LIMITS)
}

fn served_with(limits: Limits) -> Served {
    let (health, metrics) = (Health::new(), Metrics::new().unwrap());
    let server = start_with("127.0.0.1:0".parse().unwrap(), health.clone(), metrics.clone(), limits).unwrap();
    Served { server, health, metrics }
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Status and body.
    fn request(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = self.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

#[test]
fn readiness_follows_the_components() {
    let served = served();
    let (status, body) = served.request("GET", "/readyz");
    assert_eq!(status, 503);
    assert!(body.contains(r#""producer":{"ready":false,"reason":"not started yet"}"#), "{body}");
    use Component::{Assigned, Consumer, DeadLetters, Handlers, Producer};
    for component in [Assigned, Handlers, Producer, DeadLetters, Consumer] {
        served.health.ready(component);
    }
    assert_eq!(served.request("GET", "/readyz").0, 200);
    served.health.not_ready(Producer, "brokers are down");
    let (status, body) = served.request("GET", "/readyz");
    assert_eq!(status, 503);
    assert!(body.contains("brokers are down"), "{body}");
}

#[test]
fn liveness_names_the_stuck_thread() {
    let served = served();
    assert_eq!(served.request("GET", "/livez").0, 200);
    // A deadline that has passed before the probe is asked: no need to wait for one.
    let heart = served.health.watch("worker-1", Duration::ZERO);
    heart.beat(std::time::Instant::now());
    let mut answers = (0..1000).map(|_| served.request("GET", "/livez"));
    let (status, body) = answers.find(|(status, _)| *status != 200).unwrap();
    assert_eq!(status, 503);
    assert!(body.contains(r#""stuck":["worker-1"]"#), "{body}");
}

#[test]
fn metrics_are_rendered() {
    let served = served();
    served.metrics.records("shop.orders").inc_by(3);
    let (status, body) = served.request("GET", "/metrics");
    assert_eq!(status, 200);
    assert!(body.contains("outrigger_records_total{topic=\"shop.orders\"} 3\n"), "{body}");
}

#[test]
fn nothing_can_be_changed_and_nothing_else_is_served() {
    let served = served();
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(served.request(method, "/metrics").0, 405);
    }
    assert_eq!(served.request("GET", "/").0, 404);
}

#[test]
fn a_request_too_large_is_cut_off() {
    let served = served();
    let mut stream = served.connect();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\nx-padding: ").unwrap();
    // Either end may notice first: this one by a broken pipe, that one by closing.
    let written = stream.write_all(&[b'a'; 32 * 1024]).and_then(|()| stream.write_all(b"\r\n\r\n"));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{written:?}, {read:?}");
    assert_eq!(served.request("GET", "/livez").0, 200);
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let hour = Duration::from_secs(3_600);
    let served = served_with(Limits { connections: 2, head: hour, lifetime: hour, ..LIMITS });
    // Empty lines before a request are none.
    for said in ["GET /livez HTTP/1.1\r\n", "\n\n", "\r\n\r\n\r\n"] {
        let silent = || {
            let mut stream = served.connect();
            stream.write_all(said.as_bytes()).unwrap();
            stream
        };
        let mut silent: Vec<TcpStream> = (0..20).map(|_| silent()).collect();
        assert_eq!(served.request("GET", "/livez").0, 200, "{said:?}");
        // It was the oldest one that had to go.
        assert!(!matches!(silent[0].read(&mut [0; 100]), Ok(1..)));
    }
}

#[test]
fn a_client_has_little_time_to_say_what_it_wants() {
    let served = served_with(Limits { head: Duration::from_millis(300), ..LIMITS });
    let mut stream = served.connect();
    stream.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    let mut answer = Vec::new();
    let closed = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{closed:?}");
}

#[test]
fn an_address_in_use_is_named_and_a_dropped_server_frees_its_own() {
    let served = served();
    let addr = served.server.addr();
    let error = start(addr, Health::new(), Metrics::new().unwrap()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot serve probes on {addr}: ")), "{error}");
    drop(served);
    start(addr, Health::new(), Metrics::new().unwrap()).unwrap();
}
