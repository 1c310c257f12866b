//! Reaching for what a handler must not have.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

/// What the guest could reach, by name; `nothing` where that is nothing.
///
/// `file` exists and is tried to be read, `port` is one on loopback, where somebody
/// listens for TCP and UDP or nobody does.
pub fn found(file: &str, port: u16) -> String {
    let mut found = Vec::new();
    let mut probe = |name: &'static str, has: bool| {
        if has {
            found.push(name);
        }
    };
    probe("arguments", std::env::args().count() > 0);
    probe("environment", std::env::vars().count() > 0);
    let mut line = String::new();
    probe("input", std::io::stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0));
    for path in [file, "/", ".", "..", "/etc/hostname", "/dev/null", "/proc/self/environ", "outrigger.yaml"] {
        probe("a file", fs::metadata(path).is_ok() || kept(fs::File::open(path)) || fs::read_dir(path).is_ok());
    }
    probe("a new file", fs::write("hostile.txt", b"x").is_ok() || fs::create_dir("hostile").is_ok());
    for host in ["127.0.0.1", "0.0.0.0", "::1"] {
        let connected = TcpStream::connect((host, port));
        // A port that refuses was asked.
        let refused = connected.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
        probe("tcp", refused || kept(connected));
        probe("udp", UdpSocket::bind((host, 0)).is_ok_and(|socket| socket.send_to(b"x", (host, port)).is_ok()));
        probe("a listener", kept(TcpListener::bind((host, 0))));
    }
    probe("names", "localhost:80".to_socket_addrs().is_ok_and(|mut found| found.next().is_some()));
    if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
}

/// Whether it was given; it is never given back.
fn kept<T>(result: std::io::Result<T>) -> bool {
    result.map(std::mem::forget).is_ok()
}
