//! An HTTP server on loopback that does as it is told, and tells what it saw.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What a server does with a request.
#[derive(Clone)]
pub enum Reply {
    /// Answers with these bytes and waits for the next request.
    Say(Vec<u8>),
    /// Answers and closes.
    SayAndClose(Vec<u8>),
    /// Answers with the first bytes, then with one byte at each interval, without end.
    Drip(Vec<u8>, Duration),
    /// Nothing, until the client goes away.
    Silence,
}

/// A complete answer with this body.
pub fn ok(body: &str) -> Reply {
    Reply::Say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// What a server saw, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Connection,
    /// A complete request as it was on the wire.
    Request(String),
    /// The client closed; what of an incomplete request there was.
    Closed(String),
}

pub struct Server {
    pub address: SocketAddr,
    seen: Arc<(Mutex<Vec<Seen>>, Condvar)>,
    over: Arc<AtomicBool>,
}

impl Server {
    /// On an address of its own. `reply` is asked with the number of the request, from 0, and its text.
    pub fn start(reply: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Server {
        Server::on(TcpListener::bind("127.0.0.1:0").unwrap(), plain, reply)
    }

    /// The same, with what turns a connection into a stream: TLS.
    pub fn on<S: Read + Write + Send + 'static>(
        listener: TcpListener,
        open: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
        reply: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let seen: Arc<(Mutex<Vec<Seen>>, Condvar)> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let server =
            Server { address: listener.local_addr().unwrap(), seen: Arc::clone(&seen), over: Arc::clone(&over) };
        let shared = Arc::new((open, reply));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (seen, shared) = (Arc::clone(&seen), Arc::clone(&shared));
                note(&seen, Seen::Connection);
                std::thread::spawn(move || {
                    let left = stream.ok().and_then(|stream| (shared.0)(stream)).map(|s| serve(s, &seen, &shared.1));
                    note(&seen, Seen::Closed(left.unwrap_or_default()));
                });
            }
        });
        server
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.0.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.seen().iter().filter(|seen| **seen == Seen::Connection).count()
    }

    pub fn requests(&self) -> Vec<String> {
        let requests = self.seen().into_iter();
        requests.filter_map(|seen| if let Seen::Request(text) = seen { Some(text) } else { None }).collect()
    }

    /// Waits until something of the kind was seen.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is: impl Fn(&Seen) -> bool) -> Seen {
        let (seen, changed) = &*self.seen;
        let end = Instant::now() + Duration::from_secs(10);
        let mut found = seen.lock().unwrap();
        loop {
            if let Some(seen) = found.iter().find(|seen| is(seen)) {
                return seen.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the server never saw {what}: {found:?}");
            found = changed.wait_timeout(found, left).unwrap().0;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

pub fn plain(stream: TcpStream) -> Option<TcpStream> {
    Some(stream)
}

fn note(seen: &(Mutex<Vec<Seen>>, Condvar), what: Seen) {
    seen.0.lock().unwrap().push(what);
    seen.1.notify_all();
}

fn serve(
    mut stream: impl Read + Write,
    seen: &(Mutex<Vec<Seen>>, Condvar),
    reply: &impl Fn(usize, &str) -> Reply,
) -> String {
    let mut buffer = Vec::new();
    loop {
        let length = loop {
            if let Some(length) = complete(&buffer) {
                break length;
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(read) if read > 0 => buffer.extend(&chunk[..read]),
                _ => return String::from_utf8_lossy(&buffer).into_owned(),
            }
        };
        let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
        buffer.drain(..length);
        let number = {
            let mut seen = seen.0.lock().unwrap();
            seen.push(Seen::Request(request.clone()));
            seen.iter().filter(|seen| matches!(seen, Seen::Request(_))).count() - 1
        };
        seen.1.notify_all();
        match reply(number, &request) {
            Reply::Say(bytes) => {
                if stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() {
                    return String::new();
                }
            }
            Reply::SayAndClose(bytes) => {
                let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
                return String::new();
            }
            Reply::Drip(first, interval) => {
                let mut next = first;
                while stream.write_all(&next).and_then(|()| stream.flush()).is_ok() {
                    std::thread::sleep(interval);
                    next = vec![b'.'];
                }
                return String::new();
            }
            Reply::Silence => {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
                return String::from_utf8_lossy(&rest).into_owned();
            }
        }
    }
}

/// The length of the first request in the buffer, once it is there as a whole.
fn complete(buffer: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(buffer).to_lowercase();
    let head = text.find("\r\n\r\n")? + 4;
    if text[..head].contains("transfer-encoding: chunked") {
        return text[head..].find("0\r\n\r\n").map(|end| head + end + 5);
    }
    let field = text[..head].lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
    let length = head + field.map_or(0, |length| length.trim().parse().unwrap());
    (buffer.len() >= length).then_some(length)
}
