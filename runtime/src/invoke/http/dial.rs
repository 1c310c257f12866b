//! Making a connection: resolve, check every address, dial a checked one.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls::ClientConfig;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::io::TokioIo;

use super::address::may_dial;
use super::connections::Connection;
use super::head::{Allowance, Counted};
use super::resolve::Resolve;
use super::tls;
use crate::manifest::{Host, Http, Origin, Scheme};

/// Addresses of a name that are tried, one after the other.
const TRIED: usize = 4;

/// Fields of a response, and the bytes of its head that are buffered.
const FIELDS: usize = 100;
const HEAD: usize = 64 * 1024;

/// Makes the connections of one handler.
pub(super) struct Dialler {
    pub grant: Arc<Http>,
    pub resolver: Arc<dyn Resolve>,
    /// `None` where no https origin is listed.
    pub tls: Option<Arc<ClientConfig>>,
}

/// Why there is no connection: for the guest, and for the log where the manifest decided.
pub(super) struct NotDialled {
    pub error: Error,
    pub refused: Option<String>,
}

impl From<Error> for NotDialled {
    fn from(error: Error) -> NotDialled {
        NotDialled { error, refused: None }
    }
}

impl Dialler {
    /// Connects to `origin`. The connection lives in a task of its own, which holds the slot
    /// and ends when the connection closes or is dropped.
    ///
    /// # Errors
    /// It is not allowed, or there is no answer by `deadline`.
    pub(super) async fn dial(
        &self,
        origin: &Origin,
        slot: OwnedSemaphorePermit,
        deadline: Instant,
    ) -> Result<Connection, NotDialled> {
        let addresses = self.addresses(origin, deadline).await?;
        let stream = connect(&addresses, deadline).await?;
        match (origin.scheme, &self.tls) {
            (Scheme::Http, _) => speak(stream, slot).await,
            (Scheme::Https, Some(config)) => {
                let handshake = tls::handshake(Arc::clone(config), &origin.host, stream);
                let stream = timeout_at(deadline, handshake).await.map_err(|_| Error::ConnectionTimeout)??;
                speak(stream, slot).await
            }
            (Scheme::Https, None) => Err(Error::ConfigurationError.into()),
        }
    }

    /// Resolves once; from here on only these very addresses are used. One that
    /// is refused makes the whole answer suspect.
    async fn addresses(&self, origin: &Origin, deadline: Instant) -> Result<Vec<SocketAddr>, NotDialled> {
        let found = match &origin.host {
            Host::Ip(address) => vec![*address],
            Host::Name(name) => {
                let answer = timeout_at(deadline, self.resolver.resolve(name)).await.map_err(|_| Error::DnsTimeout)?;
                answer.map_err(|error| Error::DnsError { rcode: Some(error.to_string()), info_code: None })?
            }
        };
        let addresses: Vec<SocketAddr> = found.into_iter().map(|ip| SocketAddr::new(ip, origin.port)).collect();
        for address in &addresses {
            let own = self.grant.own_ports.contains(&address.port()) && is_own(address.ip());
            may_dial(&self.grant, origin, *address, own).map_err(|refusal| NotDialled {
                error: Error::DestinationIpProhibited,
                refused: Some(format!("{origin} was not dialled at {}: {refusal}", address.ip())),
            })?;
        }
        if addresses.is_empty() { Err(Error::DestinationNotFound.into()) } else { Ok(addresses) }
    }
}

/// Whether the address is one of this machine's: those can be bound. Where that
/// cannot be told, it is.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).err().is_none_or(|error| error.kind() != ErrorKind::AddrNotAvailable)
}

/// Each address gets an equal share of the time that is left.
async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Error> {
    let tried = addresses.len().min(TRIED);
    let mut last = Error::ConnectionTimeout;
    for (address, left) in addresses.iter().zip((1..=tried).rev()) {
        let share = deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(1);
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it a small request may wait for an acknowledgement of the one before.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = of_connect(error.kind()),
            Err(_) => last = Error::ConnectionTimeout,
        }
    }
    Err(last)
}

fn of_connect(kind: ErrorKind) -> Error {
    match kind {
        ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Error::DestinationIpUnroutable,
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        _ => Error::DestinationUnavailable,
    }
}

async fn speak<S>(stream: S, slot: OwnedSemaphorePermit) -> Result<Connection, NotDialled>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder.max_headers(FIELDS).max_buf_size(HEAD);
    let allowance = Allowance::new();
    let stream = TokioIo::new(Counted { stream, allowance: Arc::clone(&allowance) });
    // No bytes are exchanged for it, so it needs no time-out.
    let (sender, connection) = builder.handshake(stream).await.map_err(|_| Error::HttpProtocolError)?;
    let task = tokio::spawn(async move {
        let _slot = slot;
        // How it ends is told to the request that is under way.
        let _ = connection.await;
    });
    Ok(Connection { sender, allowance, task: task.abort_handle() })
}

/// The time that a phase of a request has: what the guest says, or half of what
/// the attempt has left, so that it can still answer when that is over.
pub(super) fn patience(said: Option<Duration>, left: Duration) -> Duration {
    said.map_or(left / 2, |said| said.min(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_known() {
        assert!(is_own([127, 0, 0, 1].into()) && is_own([0, 0, 0, 0].into()));
        assert!(!is_own([192, 0, 2, 1].into()), "an address for documentation is nobody's");
    }

    #[test]
    fn a_phase_leaves_time_to_answer() {
        let second = Duration::from_secs(1);
        assert_eq!(patience(None, 4 * second), 2 * second);
        assert_eq!(patience(Some(second), 4 * second), second);
        assert_eq!(patience(Some(9 * second), 4 * second), 4 * second);
    }
}
