//! An HTTP server on loopback for handlers to ask: one that answers, or one that does
//! what servers should not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The most connections at a time; further ones are closed at once. Twice what one handler
/// of one worker may have.
const CONNECTIONS: usize = 256;

/// The longest head of a request; a longer one closes its connection.
const HEAD: usize = 16 * 1024;

/// Bytes that are read or written in one go.
const CHUNK: usize = 16 * 1024;

/// The time between two bytes of a response that drips.
const DRIP: Duration = Duration::from_millis(100);

/// What a server does with each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Answers with the request's path as the body.
    Answers,
    /// Reads what comes and never answers.
    Silent,
    /// Begins to answer and sends one byte of the fields now and then, without an end.
    DripsFields,
    /// Sends the fields, and one byte of the body now and then.
    DripsBody,
    /// Sends the fields and the beginning of a body, and nothing after it.
    Stops,
    /// Sends a body without an end, as fast as it is read.
    Floods,
}

/// A body that is never sent whole.
const LONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";

impl Manner {
    /// What a response begins with.
    fn first(self, path: &str) -> String {
        match self {
            Manner::Answers => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()),
            Manner::Silent => String::new(),
            Manner::DripsFields => "HTTP/1.1 200 OK\r\nX-Drip: ".to_owned(),
            Manner::DripsBody | Manner::Floods => LONG.to_owned(),
            Manner::Stops => format!("{LONG}the beginning"),
        }
    }
}

/// A server; it ends when it is dropped, and its connections with it.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    manner: Manner,
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Default)]
struct State {
    requests: u64,
    open: Vec<Arc<TcpStream>>,
    ended: bool,
}

impl Server {
    /// Starts one on a port that the system chooses.
    pub fn start(manner: Manner) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the server");
        let address = listener.local_addr().expect("the server's address");
        let shared = Arc::new(Shared { manner, state: Mutex::default(), closed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, &of_thread));
        Server { address, shared, acceptor: Some(acceptor) }
    }

    /// Its host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Scheme, host and port, as `allow.http` of a manifest lists them.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests whose fields were read.
    pub fn requests(&self) -> u64 {
        self.shared.state().requests
    }

    /// Waits until at most so many connections are open; returns how many are.
    pub fn wait_closed(&self, at_most: usize, patience: Duration) -> usize {
        let too_many = |state: &mut State| state.open.len() > at_most;
        let waited = self.shared.closed.wait_timeout_while(self.shared.state(), patience, too_many);
        waited.unwrap_or_else(PoisonError::into_inner).0.open.len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.ended = true;
            state.open.iter().for_each(|connection| drop(connection.shutdown(Shutdown::Both)));
        }
        // It waits in `accept`; a connection makes it look.
        let _ = TcpStream::connect(self.address);
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        let mut state = shared.state();
        if state.ended {
            return;
        }
        let Some(connection) = connection.ok().filter(|_| state.open.len() < CONNECTIONS).map(Arc::new) else {
            continue;
        };
        state.open.push(Arc::clone(&connection));
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // Whatever ends it, the connection is over.
            let _ = serve(&connection, &shared);
            shared.state().open.retain(|other| !Arc::ptr_eq(other, &connection));
            shared.closed.notify_all();
        });
    }
}

/// Serves a connection until the client closes it.
fn serve(mut connection: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut unread = Vec::new();
    while let Some(path) = next_request(connection, &mut unread)? {
        shared.state().requests += 1;
        connection.write_all(shared.manner.first(&path).as_bytes())?;
        match shared.manner {
            Manner::Answers => {}
            Manner::Silent | Manner::Stops => return drain(connection),
            Manner::DripsFields | Manner::DripsBody => return drip(connection),
            Manner::Floods => loop {
                connection.write_all(&[b'y'; CHUNK])?;
            },
        }
    }
    Ok(())
}

/// The path of the next request, once its fields are read; `None` at the end. Requests
/// of a client that is answered have no body.
fn next_request(mut connection: &TcpStream, unread: &mut Vec<u8>) -> std::io::Result<Option<String>> {
    let mut chunk = [0; CHUNK];
    loop {
        if let Some(end) = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head: Vec<u8> = unread.drain(..end + 4).collect();
            let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned();
            return Ok(Some(path));
        }
        match connection.read(&mut chunk)? {
            0 => return Ok(None),
            _ if unread.len() > HEAD => return Ok(None),
            bytes => unread.extend(&chunk[..bytes]),
        }
    }
}

/// Reads until the client closes.
fn drain(mut connection: &TcpStream) -> std::io::Result<()> {
    let mut chunk = [0; CHUNK];
    while connection.read(&mut chunk)? > 0 {}
    Ok(())
}

/// Sends a byte now and then, until the client closes: which is seen at once, by reading.
fn drip(mut connection: &TcpStream) -> std::io::Result<()> {
    connection.set_read_timeout(Some(DRIP))?;
    loop {
        match connection.read(&mut [0; CHUNK]) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                connection.write_all(b"y")?;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn client(server: &Server) -> TcpStream {
        let mut client = TcpStream::connect(server.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"GET /a/path HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        client
    }

    fn read(client: &mut TcpStream, bytes: usize) -> String {
        let mut text = vec![0; bytes];
        client.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn it_answers_one_request_after_the_other() {
        let server = Server::start(Manner::Answers);
        let mut client = client(&server);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n/a/path";
        assert_eq!(read(&mut client, answer.len()), answer);
        client.write_all(b"GET /b HTTP/1.1\r\n\r\n").unwrap();
        assert!(read(&mut client, answer.len() - 5).ends_with("\r\n/b"));
        assert_eq!(server.requests(), 2);
    }

    #[test]
    fn it_counts_connections_until_the_client_closes_them() {
        for manner in [Manner::Silent, Manner::DripsFields, Manner::DripsBody, Manner::Stops, Manner::Floods] {
            let server = Server::start(manner);
            let mut clients = [client(&server), client(&server)];
            if manner != Manner::Silent {
                clients.iter_mut().for_each(|client| assert_eq!(read(client, 15), "HTTP/1.1 200 OK"));
                assert_eq!(server.wait_closed(1, Duration::from_millis(1)), 2, "{manner:?}");
            }
            let [first, second] = clients;
            drop(first);
            drop(second);
            assert_eq!(server.wait_closed(0, PATIENCE), 0, "{manner:?}");
        }
    }
}
