//! Outgoing HTTP of a real guest against a real server: budgets, time, what is
//! left behind, and connections that are used again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::net::TcpListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use outrigger::invoke::Pool;
use outrigger::manifest::Handler;
use outrigger::outcome::FailureClass;
use support::server::{Reply, Seen, Server, ok};
use support::*;

fn pool_to(server: &Server, change: impl FnOnce(&mut Handler)) -> Rc<Pool> {
    let mut spec = reaching(&[&server.origin()]);
    change(&mut spec);
    pool_of(&spec)
}

fn request(server: &Server, method: &str, rest: &str) -> String {
    format!("{method} http {} /{rest}", server.address)
}

/// Waits until the server saw so many connections end, while the runtime goes
/// on as a worker's does.
async fn closed(server: &Server, connections: usize) {
    let seen = || server.seen().iter().filter(|seen| matches!(seen, Seen::Closed(_))).count();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if seen() >= connections {
            // Once more, for what the client's side has to notice.
            return tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(Instant::now() < end, "the connection stays open: {:?}", server.seen());
    }
}

#[test]
fn the_number_of_requests_is_a_budget() {
    let server = Server::start(|_, _| ok("x"));
    let pool = pool_to(&server, |spec| spec.limits.http_requests = 3);
    let many =
        |count: usize| block_on(pool.call(call("send-many", format!("{count}\n{}", request(&server, "GET", "")))));
    assert_eq!(said(many(3)), "200 x, 200 x, 200 x");
    fails(many(4), FailureClass::Budget, "HTTP request budget of 3 exceeded");
    assert_eq!(server.requests().len(), 6, "the fourth was not sent");
    assert_eq!(said(many(3)), "200 x, 200 x, 200 x", "each attempt has its own");
    // Each is a task of the host's, refused or not.
    let refused = |count: usize| block_on(pool.call(call("send-many", format!("{count}\nGET http 192.0.2.1 /"))));
    assert!(said(refused(3)).contains("HttpRequestDenied"));
    fails(refused(4), FailureClass::Budget, "HTTP request budget of 3 exceeded");
}

/// An instance may hold 1,024 handles, and lives for a hundred times as many calls.
#[test]
fn what_was_sent_leaves_no_handle_behind() {
    let server = Server::start(|_, _| ok("x"));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let origins = [server.origin(), format!("http://{nobody}")];
    let mut spec = reaching(&[&origins[0], &origins[1]]);
    spec.limits.http_requests = 100;
    let pool = pool_of(&spec);
    let elsewhere = |authority: &str| format!("GET http {authority} /");
    for (request, answer) in [
        (request(&server, "GET", ""), "200 x"),
        (request(&server, "POST", "\nbody: 10"), "200 x"),
        (elsewhere(&nobody.to_string()), "ConnectionRefused"),
        (elsewhere("192.0.2.1"), "HttpRequestDenied"),
    ] {
        let many = format!("100\n{request}");
        block_on(async {
            for _ in 0..12 {
                let answers = said(pool.call(call("send-many", many.clone())).await);
                assert_eq!(answers.matches(answer).count(), 100, "{answers}");
            }
        });
    }
}

#[test]
fn request_bytes_are_a_budget() {
    let server = Server::start(|_, _| ok("x"));
    let pool = pool_to(&server, |spec| spec.limits.http_request_bytes = 20_000);
    let upload =
        |bytes: usize| block_on(pool.call(call("send", request(&server, "POST", &format!("\nbody: {bytes}")))));
    assert_eq!(said(upload(19_000)), "200 x");
    fails(upload(40_000), FailureClass::Budget, "HTTP request bytes budget of 20000 bytes exceeded");
    let broken =
        server.wait_for("a request that was broken off", |seen| matches!(seen, Seen::Closed(text) if !text.is_empty()));
    assert!(!matches!(broken, Seen::Closed(text) if text.ends_with("0\r\n\r\n")), "it does not look complete");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn response_bytes_are_a_budget() {
    let body = "y".repeat(300_000);
    let server = Server::start(move |number, _| if number == 0 { ok(&body[..200_000]) } else { ok(&body) });
    let pool = pool_to(&server, |spec| spec.limits.output = 1 << 20);
    assert_eq!(said(block_on(pool.call(call("send", request(&server, "GET", ""))))).len(), "200 ".len() + 200_000);
    let over = block_on(pool.call(call("send", request(&server, "GET", ""))));
    fails(over, FailureClass::Budget, "HTTP response bytes budget of 256 KiB exceeded");
}

/// hyper reads any number of blanks behind the length of a chunk.
#[test]
fn what_surrounds_the_data_of_a_response_is_bounded() {
    let server = Server::start(|number, _| {
        let blanks = " ".repeat(if number == 0 { 1_000 } else { 4_000_000 });
        let body = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3{blanks}\r\nend\r\n0\r\n\r\n");
        Reply::Say(body.into_bytes())
    });
    let pool = pool_to(&server, |_| {});
    let get = || block_on(pool.call(call("send", request(&server, "GET", ""))));
    assert_eq!(said(get()), "200 end");
    fails(get(), FailureClass::Budget, "HTTP response bytes budget of 256 KiB exceeded");
}

/// What was sent to it stands in buffers that it never empties.
#[test]
fn a_connection_to_a_server_that_does_not_read_is_closed_all_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut spec = reaching(&[&format!("http://{address}")]);
    (spec.limits.http_request_bytes, spec.limits.timeout) = (64 << 20, Duration::from_millis(500));
    spec.limits.memory = 64 << 20;
    let pool = pool_of(&spec);
    let accepted = std::thread::spawn(move || listener.accept().unwrap());
    block_on(async {
        // It ends by its own time or by the response's, whichever comes first.
        pool.call(call("send", format!("POST http {address} /\nbody: 20000000"))).await;
        let (_unread, client) = accepted.join().unwrap();
        // Each socket's address and port in hexadecimal, and its state; 01 is a connection that stands.
        let place = format!("0100007F:{:04X}", client.port());
        let stands = || {
            let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let mut fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            fields.any(|fields| fields[1] == place && fields[3] == "01")
        };
        let end = Instant::now() + Duration::from_secs(5);
        while stands() {
            assert!(Instant::now() < end, "the connection stays open");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn fields_without_end_are_refused() {
    let server = Server::start(|number, _| match number {
        0 => Reply::Say(format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(200)).into_bytes()),
        _ => {
            Reply::Drip(format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(100_000)).into_bytes(), Duration::from_millis(1))
        }
    });
    let pool = pool_to(&server, |_| {});
    for _ in 0..2 {
        let answer = said(block_on(pool.call(call("send", request(&server, "GET", "")))));
        assert!(answer.contains("HttpResponseHeaderSectionSize") || answer.contains("HttpProtocolError"), "{answer}");
    }
}

#[test]
fn informational_responses_are_read_past_and_not_without_end() {
    let hints = |count: usize| "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(count);
    let server = Server::start(move |number, _| {
        // 180 bytes, then 22 MB.
        let count = if number < 2 { 4 } else { 500_000 };
        Reply::Say(format!("{}HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend", hints(count)).into_bytes())
    });
    let pool = pool_to(&server, |_| {});
    let answers = block_on(async {
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(said(pool.call(call("send", request(&server, "GET", ""))).await));
        }
        answers
    });
    assert_eq!(answers[..2], ["200 end", "200 end"]);
    assert!(answers[2].contains("HttpResponseHeaderSectionSize"), "{}", answers[2]);
}

#[test]
fn what_a_guest_says_of_a_request_is_bounded_before_it_is_kept() {
    let server = Server::start(|_, _| ok("x"));
    let pool = pool_to(&server, |spec| (spec.limits.input, spec.limits.output) = (1 << 20, 1 << 20));
    let answer = |text: String| said(block_on(pool.call(call("send", text))));
    let address = server.address;
    for (what, longest) in [("authority", 259), ("method", 64), ("path", 8 * 1024)] {
        for length in [longest, longest + 1, 500_000] {
            let word = "a".repeat(length - usize::from(what == "path"));
            let said = answer(match what {
                "authority" => format!("GET http {word} /"),
                "method" => format!("{word} http {address} /"),
                _ => format!("GET http {address} /{word}"),
            });
            assert_eq!(said.contains(&format!("{what} refused")), length > longest, "{what} of {length}: {said:.99}");
        }
    }
}

#[test]
fn a_query_counts_as_what_is_sent() {
    let server = Server::start(|_, _| ok("x"));
    let pool = pool_to(&server, |spec| spec.limits.http_request_bytes = 5_000);
    let send =
        |length: usize| block_on(pool.call(call("send", request(&server, "GET", &format!("?{}", "q".repeat(length))))));
    assert_eq!(said(send(4_000)), "200 x");
    fails(send(6_000), FailureClass::Budget, "HTTP request bytes budget of 5000 bytes exceeded");
}

#[test]
fn a_connection_is_used_again() {
    let server = Server::start(|number, _| ok(&number.to_string()));
    let pool = pool_to(&server, |_| {});
    block_on(async {
        for number in 0..5 {
            let answer = said(pool.call(call("send", request(&server, "GET", ""))).await);
            assert_eq!(answer, format!("200 {number}"));
        }
    });
    assert_eq!(server.connections(), 1);
    assert_eq!(pool.idle(), 1, "and so is the instance");
}

#[test]
fn a_connection_that_the_server_closed_is_replaced_without_the_guest_noticing() {
    let server = Server::start(|_, _| {
        // Without saying so in a field.
        Reply::SayAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx".to_vec())
    });
    let pool = pool_to(&server, |_| {});
    block_on(async {
        for sent in 1..=20 {
            assert_eq!(said(pool.call(call("send", request(&server, "POST", "\n\nbody"))).await), "200 x");
            closed(&server, sent).await;
        }
    });
    assert_eq!(server.requests().len(), 20, "nothing was sent twice");
}

#[test]
fn a_connection_that_was_closed_while_the_thread_was_busy_is_replaced() {
    let server = Server::start(|_, _| Reply::SayAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx".to_vec()));
    let pool = pool_to(&server, |_| {});
    block_on(async {
        assert_eq!(said(pool.call(call("send", request(&server, "POST", "\n\nbody"))).await), "200 x");
        // While the worker's thread is busy elsewhere: the client has not noticed yet when it sends.
        server.wait_for("the end of the connection", |seen| matches!(seen, Seen::Closed(_)));
        assert_eq!(said(pool.call(call("send", request(&server, "POST", "\n\nbody"))).await), "200 x");
    });
    assert_eq!((server.connections(), server.requests().len()), (2, 2));
}

#[test]
fn a_request_that_may_have_arrived_is_not_sent_again() {
    let server = Server::start(|number, _| if number == 0 { ok("x") } else { Reply::SayAndClose(Vec::new()) });
    let pool = pool_to(&server, |_| {});
    block_on(async {
        assert_eq!(said(pool.call(call("send", request(&server, "POST", "\n\nbody"))).await), "200 x");
        let answer = said(pool.call(call("send", request(&server, "POST", "\n\nbody"))).await);
        assert!(answer.contains("ConnectionTerminated"), "{answer}");
    });
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn waiting_for_a_server_lets_the_other_calls_run() {
    let server = Server::start(|_, _| Reply::Silence);
    let pool = pool_to(&server, |spec| spec.limits.timeout = Duration::from_millis(600));
    let started = Instant::now();
    let (slow, fast) = block_on(async {
        let slow = pool.call(call("send", request(&server, "GET", "")));
        let fast = async {
            let mut latest = Duration::ZERO;
            for _ in 0..50 {
                let begun = Instant::now();
                said(pool.call(call("config", "x")).await);
                latest = latest.max(begun.elapsed());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            (started.elapsed(), latest)
        };
        tokio::join!(slow, fast)
    });
    let answer = said(slow);
    assert!(
        answer.contains("HttpResponseTimeout"),
        "half of the attempt's time, so that it can still answer: {answer}"
    );
    assert!(fast.0 < started.elapsed(), "the quick calls did not wait for the slow one: {fast:?}");
    assert!(fast.1 < Duration::from_millis(250), "{fast:?}");
}

#[test]
fn a_slow_drip_is_bounded_by_the_attempts_time() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
    let server = Server::start(move |_, _| Reply::Drip(head.clone(), Duration::from_millis(20)));
    let pool = pool_to(&server, |spec| spec.limits.timeout = Duration::from_millis(500));
    let report = block_on(pool.call(call("send", request(&server, "GET", ""))));
    fails(report, FailureClass::Timeout, "longer than the timeout of 500ms");
    server.wait_for("the end of the connection", |seen| matches!(seen, Seen::Closed(_)));
    let report = block_on(pool.call(call("send", request(&server, "GET", "\nbetween-bytes-timeout: 5"))));
    // wasmtime-wasi-http tells a stream's error as text only.
    let answer = said(report);
    assert!(answer.to_lowercase().contains("timeout"), "the guest's own bound: {answer}");
}

#[test]
fn a_request_left_open_is_broken_off_and_its_instance_retired() {
    let server = Server::start(|_, _| Reply::Silence);
    let pool = pool_to(&server, |_| {});
    block_on(async {
        // More than fits between the guest and the server: it returns while the body is on its way.
        let half = request(&server, "POST", "\nbody: 50000");
        assert_eq!(said(pool.call(call("leave-open", half)).await), "begun");
        assert_eq!(pool.idle(), 0, "the instance is gone");
        closed(&server, 1).await;
    });
    let closed = server.wait_for("the end of the connection", |seen| matches!(seen, Seen::Closed(_)));
    assert!(
        !matches!(&closed, Seen::Closed(text) if text.ends_with("0\r\n\r\n")),
        "it does not look complete: {closed:?}"
    );
    assert_eq!(server.requests(), Vec::<String>::new(), "no complete request arrived");
}

#[test]
fn a_request_that_the_guest_cancels_is_broken_off() {
    let server = Server::start(|_, _| Reply::Silence);
    let pool = pool_to(&server, |_| {});
    block_on(async {
        let half = request(&server, "POST", "\nbody: 50000");
        assert_eq!(said(pool.call(call("cancel", half)).await), "cancelled");
        closed(&server, 1).await;
    });
    assert_eq!(server.requests(), Vec::<String>::new(), "no complete request arrived");
}

#[test]
fn a_server_that_is_not_there_is_an_error_that_the_guest_sees() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pool = pool_of(&reaching(&[&format!("http://{nobody}")]));
    let answer = said(block_on(pool.call(call("send", format!("GET http {nobody} /")))));
    assert!(answer.contains("ConnectionRefused"), "{answer}");
}

#[test]
fn answers_without_a_body_leave_the_connection_in_order() {
    let server = Server::start(|number, _| match number {
        0 => Reply::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n".to_vec()),
        1 => Reply::Say(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        2 => Reply::Say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec()),
        _ => ok("end"),
    });
    let pool = pool_to(&server, |_| {});
    let answers = block_on(async {
        let mut answers = Vec::new();
        for method in ["HEAD", "GET", "GET", "GET"] {
            answers.push(said(pool.call(call("send", request(&server, method, ""))).await));
        }
        answers
    });
    assert_eq!(answers, ["200 ", "204 ", "200 abc", "200 end"]);
    assert_eq!(server.connections(), 1);
}

#[test]
fn what_follows_an_answer_unasked_is_no_answer() {
    // The second answer was never asked for: taken for that of the next request, it would be a stranger's.
    let server = Server::start(|number, _| match number {
        0 => Reply::Say(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged".to_vec(),
        ),
        _ => ok("right"),
    });
    let pool = pool_to(&server, |_| {});
    let answers = block_on(async {
        let first = said(pool.call(call("send", request(&server, "GET", ""))).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
        (first, said(pool.call(call("send", request(&server, "GET", ""))).await))
    });
    assert_eq!(answers, ("200 x".to_owned(), "200 right".to_owned()));
}

#[test]
fn a_switch_of_protocols_is_refused() {
    let server = Server::start(|_, _| {
        Reply::Say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_vec())
    });
    let answer = said(block_on(pool_to(&server, |_| {}).call(call("send", request(&server, "GET", "")))));
    assert!(!answer.starts_with("101") && !answer.starts_with("200"), "{answer}");
}
