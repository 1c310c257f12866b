//! A TCP proxy on loopback, between a client and a broker, that can fail in the
//! ways of a network.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The most connections at a time; further ones are closed at once.
const CONNECTIONS: usize = 256;

/// Bytes that are passed on in one go.
const CHUNK: usize = 16 * 1024;

/// What the proxy does with what comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Passes everything on.
    #[default]
    Works,
    /// Closes every new connection at once; those that are open go on.
    Refuses,
    /// Takes everything, in both directions, and passes nothing on: nobody learns
    /// of it. A connection that lost something is closed when the network works again.
    Swallows,
    /// Passes requests on and takes the answers: what was asked for happens, and the
    /// client does not learn of it. The same holds for the connections afterwards.
    SwallowsAnswers,
    /// Passes each chunk of at most 16 KiB on after this delay.
    Slow(Duration),
}

/// A proxy; it ends when it is dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    swallowed: AtomicU64,
    delayed: AtomicU64,
    refused: AtomicU64,
}

#[derive(Default)]
struct State {
    network: Network,
    ended: bool,
    connections: Vec<Arc<Connection>>,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    lost_something: AtomicBool,
}

impl Proxy {
    /// Starts a proxy to a port of this machine.
    pub fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the proxy");
        let port = listener.local_addr().expect("the proxy's address").port();
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let acceptor = std::thread::spawn(move || accept(&listener, to, &of_thread));
        Proxy { port, shared, acceptor: Some(acceptor) }
    }

    /// Where clients connect.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port of [`Proxy::address`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the network from now on.
    pub fn set(&self, network: Network) {
        self.shared.state().network = network;
        self.shared.changed.notify_all();
    }

    /// Cuts every connection; returns how many there were.
    pub fn cut(&self) -> usize {
        let connections = std::mem::take(&mut self.shared.state().connections);
        connections.iter().for_each(|connection| connection.close());
        connections.len()
    }

    /// Bytes that were swallowed so far.
    pub fn swallowed(&self) -> u64 {
        self.shared.swallowed.load(Ordering::Relaxed)
    }

    /// Chunks that were delayed so far.
    pub fn delayed(&self) -> u64 {
        self.shared.delayed.load(Ordering::Relaxed)
    }

    /// Connections that were refused so far.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.changed.notify_all();
        self.cut();
        // It waits in `accept`; a connection makes it look.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for so long, or until the network changes.
    fn delay(&self, network: Network, delay: Duration) {
        self.delayed.fetch_add(1, Ordering::Relaxed);
        let unchanged = |state: &mut State| state.network == network && !state.ended;
        let _ = self.changed.wait_timeout_while(self.state(), delay, unchanged);
    }
}

impl Connection {
    fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

fn accept(listener: &TcpListener, to: u16, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let (ended, refuses) = {
            let state = shared.state();
            (state.ended, state.network == Network::Refuses || state.connections.len() >= CONNECTIONS)
        };
        if ended {
            return;
        }
        // Counted before it is closed, which whoever looks at the count waits for.
        shared.refused.fetch_add(u64::from(refuses), Ordering::Relaxed);
        let Some(client) = client.ok().filter(|_| !refuses) else { continue };
        // A broker that is away: the client's connection is closed by being dropped.
        let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let connection = Arc::new(Connection { client, server, lost_something: AtomicBool::new(false) });
        shared.state().connections.push(connection.clone());
        for upwards in [true, false] {
            let (connection, shared) = (connection.clone(), shared.clone());
            std::thread::spawn(move || pump(&connection, upwards, &shared));
        }
    }
}

/// Passes on one direction of a connection until either side closes it.
fn pump(connection: &Arc<Connection>, upwards: bool, shared: &Shared) {
    let Connection { client, server, .. } = &**connection;
    let (mut from, mut to) = if upwards { (client, server) } else { (server, client) };
    let mut buffer = vec![0; CHUNK];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        let network = shared.state().network;
        if network == Network::Swallows || (network == Network::SwallowsAnswers && !upwards) {
            connection.lost_something.store(true, Ordering::Relaxed);
            shared.swallowed.fetch_add(bytes as u64, Ordering::Relaxed);
            continue;
        }
        if let Network::Slow(delay) = network {
            shared.delay(network, delay);
        }
        // After a loss the rest would be read as something else.
        if connection.lost_something.load(Ordering::Relaxed) || to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    connection.close();
    shared.state().connections.retain(|other| !Arc::ptr_eq(other, connection));
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    /// A server that sends everything back, and a client of it behind a proxy.
    fn echo() -> (Proxy, impl Fn() -> TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let mut back = stream.try_clone().unwrap();
                    let _ = std::io::copy(&mut stream, &mut back);
                });
            }
        });
        let proxy = Proxy::start(port);
        let address = proxy.address();
        (proxy, move || {
            let client = TcpStream::connect(&address).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            client
        })
    }

    fn answer(client: &mut TcpStream, text: &[u8]) -> Result<Vec<u8>, ErrorKind> {
        client.write_all(text).map_err(|e| e.kind())?;
        let mut back = vec![0; text.len()];
        client.read_exact(&mut back).map_err(|e| e.kind()).map(|()| back)
    }

    #[test]
    fn it_passes_delays_cuts_and_refuses() {
        let (proxy, connect) = echo();
        let mut client = connect();
        assert_eq!(answer(&mut client, b"hello").unwrap(), b"hello");
        let delay = Duration::from_millis(30);
        proxy.set(Network::Slow(delay));
        let began = std::time::Instant::now();
        assert_eq!(answer(&mut client, b"slowly").unwrap(), b"slowly");
        assert!(began.elapsed() >= 2 * delay && proxy.delayed() >= 2, "{:?}", began.elapsed());
        proxy.set(Network::Refuses);
        assert_eq!(answer(&mut client, b"still").unwrap(), b"still");
        assert!(answer(&mut connect(), b"new").is_err());
        assert_eq!((proxy.refused(), proxy.cut()), (1, 1));
        assert!(answer(&mut client, b"gone").is_err());
        proxy.set(Network::Works);
        assert_eq!(answer(&mut connect(), b"again").unwrap(), b"again");
    }

    #[test]
    fn an_answer_is_taken_and_what_was_asked_for_happens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap().port());
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        let mut server = listener.accept().unwrap().0;
        proxy.set(Network::SwallowsAnswers);
        client.write_all(b"do it").unwrap();
        let mut asked = [0; 5];
        server.read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"do it");
        server.write_all(b"done").unwrap();
        crate::wait::eventually("the answer is taken", Duration::from_secs(10), || match proxy.swallowed() {
            4 => Ok(()),
            some => Err(format!("{some} bytes")),
        });
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(client.read(&mut asked).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn what_was_swallowed_is_gone_and_its_connection_too() {
        let (proxy, connect) = echo();
        let mut client = connect();
        assert_eq!(answer(&mut client, b"hello").unwrap(), b"hello");
        proxy.set(Network::Swallows);
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(answer(&mut client, b"lost").unwrap_err(), ErrorKind::WouldBlock);
        assert_eq!(proxy.swallowed(), 4);
        proxy.set(Network::Works);
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(answer(&mut client, b"kept?").is_err());
        assert_eq!(answer(&mut connect(), b"new").unwrap(), b"new");
    }
}
