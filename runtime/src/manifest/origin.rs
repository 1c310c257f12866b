//! Where a handler may send requests: scheme, host and port, in one form only.
//!
//! The manifest's entries and the addresses in a guest's requests go through the
//! same reader. What has more than one spelling (`127.1`, `0x7f000001`, `API.example.com`,
//! `example.com.`, `ex%61mple.com`) is not brought into shape but refused, so that
//! comparing two origins is comparing two texts, and nothing that resolves or
//! dials ever reads a spelling differently.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port where a URL names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// A host: a name for the resolver, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A DNS name in lower-case ASCII, without a dot at its end.
    Name(Arc<str>),
    /// An address; never one that hides another, such as `::ffff:127.0.0.1`.
    Ip(IpAddr),
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// How the server is spoken to.
    pub scheme: Scheme,
    /// The server.
    pub host: Host,
    /// Not 0.
    pub port: u16,
}

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum OriginError {
    #[error("the scheme is missing")]
    NoScheme,
    #[error("only http and https can be allowed")]
    UnknownScheme,
    #[error("the host is missing")]
    NoHost,
    #[error("a user name or password does not belong here")]
    Userinfo,
    #[error("a path does not belong here: a whole server is allowed, or none of it")]
    Path,
    #[error("wildcards are not supported: each host is named")]
    Wildcard,
    #[error("the port must be a number from 1 to 65535, without leading zeros")]
    Port,
    #[error("upper-case letters are not accepted")]
    UpperCase,
    #[error("a dot at the end is not accepted")]
    TrailingDot,
    #[error("only ASCII is accepted")]
    NotAscii,
    #[error("percent-encoding is not accepted")]
    Percent,
    #[error("this is a number where an address or a name is meant")]
    OddAddress,
    #[error("this IPv6 address stands for an IPv4 address")]
    Embedded,
    #[error("nothing can be dialled at this address")]
    Undialable,
    #[error("this is not a host name")]
    Name,
}

impl OriginError {
    /// What to write instead.
    pub const fn help(self) -> &'static str {
        match self {
            OriginError::NoScheme | OriginError::UnknownScheme => "begin with https:// or http://",
            OriginError::NoHost => "write it as https://api.example.com or http://10.0.0.7:8080",
            OriginError::Userinfo => "leave out what stands before the @; give credentials under `secrets`",
            OriginError::Path => "end it after the host or the port, as in https://api.example.com:8443",
            OriginError::Wildcard => "write one entry for each host",
            OriginError::Port => "write it as https://api.example.com:8443; without a colon it is 443 or 80",
            OriginError::UpperCase => "write it in lower case, here and in the handler",
            OriginError::TrailingDot => "leave out the dot",
            OriginError::NotAscii => "write the host in its ASCII form, which begins with xn--",
            OriginError::Percent => "write the host as it is",
            OriginError::OddAddress => "write an IPv4 address as 10.0.0.7 and an IPv6 address as [fd00::7]",
            OriginError::Embedded => "write the IPv4 address",
            OriginError::Undialable => "write the address that the server listens on, such as 127.0.0.1",
            OriginError::Name => "use letters, digits and hyphens between the dots",
        }
    }
}

impl Origin {
    /// Reads `scheme://host` or `scheme://host:port`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Origin, OriginError> {
        let (scheme, authority) = text.split_once("://").ok_or(OriginError::NoScheme)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "" => return Err(OriginError::NoScheme),
            _ if scheme.bytes().any(|b| b.is_ascii_uppercase()) => return Err(OriginError::UpperCase),
            _ => return Err(OriginError::UnknownScheme),
        };
        Origin::new(scheme, authority)
    }

    /// Reads `host` or `host:port`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(scheme: Scheme, authority: &str) -> Result<Origin, OriginError> {
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(OriginError::Path);
        }
        if authority.contains('@') {
            return Err(OriginError::Userinfo);
        }
        if !authority.is_ascii() {
            return Err(OriginError::NotAscii);
        }
        if authority.contains('%') {
            return Err(OriginError::Percent);
        }
        if authority.contains('*') {
            return Err(OriginError::Wildcard);
        }
        if authority.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(OriginError::UpperCase);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(OriginError::OddAddress)?;
                let port = match port.strip_prefix(':') {
                    None if port.is_empty() => None,
                    None => return Err(OriginError::Port),
                    some => some,
                };
                (Host::Ip(IpAddr::V6(ipv6(address)?)), port)
            }
            None => match authority.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err(OriginError::OddAddress),
                Some((host, port)) => (name_or_ipv4(host)?, Some(port)),
                None => (name_or_ipv4(authority)?, None),
            },
        };
        let port = port.map_or(Ok(scheme.default_port()), read_port)?;
        Ok(Origin { scheme, host, port })
    }

    /// Host and port as they stand in a request's `Host` field: without the
    /// port where it is the scheme's own.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V4(address)) => address.fmt(f),
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

fn read_port(text: &str) -> Result<u16, OriginError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|port| digits && *port > 0).ok_or(OriginError::Port)
}

fn name_or_ipv4(host: &str) -> Result<Host, OriginError> {
    if host.is_empty() {
        return Err(OriginError::NoHost);
    }
    if host.ends_with('.') {
        return Err(OriginError::TrailingDot);
    }
    let last = host.rsplit('.').next().unwrap_or(host);
    // What a resolver or a URL library may take for an IPv4 address is one, or nothing.
    let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|b| b.is_ascii_digit()) {
        let address: Ipv4Addr = host.parse().map_err(|_| OriginError::OddAddress)?;
        let nothing = address.octets()[0] == 0 || address.octets()[0] >= 224;
        return if nothing { Err(OriginError::Undialable) } else { Ok(Host::Ip(address.into())) };
    }
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(legal) && !label.starts_with('-') && !label.ends_with('-')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err(OriginError::Name);
    }
    Ok(Host::Name(host.into()))
}

fn ipv6(text: &str) -> Result<Ipv6Addr, OriginError> {
    let address: Ipv6Addr = text.parse().map_err(|_| OriginError::OddAddress)?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(OriginError::Undialable);
    }
    if hides_ipv4(address) {
        return Err(OriginError::Embedded);
    }
    // One spelling only: the shortest.
    if address.to_string() == text { Ok(address) } else { Err(OriginError::OddAddress) }
}

/// Whether packets to this address go to an IPv4 address that is a part of it:
/// IPv4-mapped, IPv4-compatible, IPv4-translated, NAT64 (both prefixes), 6to4,
/// Teredo, ISATAP.
pub(crate) fn hides_ipv4(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => false,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => true,
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => true,
        [0x2002, ..] | [0x2001, 0, ..] => true,
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
