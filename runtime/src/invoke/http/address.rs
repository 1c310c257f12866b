//! Whether a connection may be made: decided on the address that is dialled, at
//! the moment of dialling.
//!
//! A name is allowed by whoever wrote the manifest, but what it resolves to is
//! decided by whoever runs its DNS zone. So a listed name reaches public and
//! private addresses, and never those that mean "this machine" or "the machine's
//! keeper": they have to be listed themselves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::manifest::{Host, Http, Origin, hides_ipv4};

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The origin is not in the list.
    #[error("it is not in `allow.http`")]
    NotListed,
    /// Another address than the one that the request names.
    #[error("the address is not the one that was asked for")]
    OtherAddress,
    /// Reachable only where the address itself is listed.
    #[error("{0} address, reachable only where the address itself is in `allow.http`")]
    Guarded(&'static str),
    /// Reachable in no way.
    #[error("{0} address, which is never dialled")]
    Never(&'static str),
    /// A port that this process listens on.
    #[error("one of Outrigger's own ports, reachable only where the address itself is in `allow.http`")]
    OwnPort,
}

/// Whether a handler with this grant may connect to `to` for a request to
/// `origin`. `own`: it is one of this machine's addresses, with a port that the
/// process itself listens on.
///
/// # Errors
/// Why not.
pub(super) fn may_dial(grant: &Http, origin: &Origin, to: SocketAddr, own: bool) -> Result<(), Refusal> {
    if !grant.origins.contains(origin) {
        return Err(Refusal::NotListed);
    }
    let asked_for = match &origin.host {
        Host::Name(_) => true,
        Host::Ip(address) => *address == to.ip(),
    };
    if !asked_for || to.port() != origin.port {
        return Err(Refusal::OtherAddress);
    }
    let guard = match class(to.ip()) {
        Class::Never(what) => return Err(Refusal::Never(what)),
        Class::Guarded(what) => Some(Refusal::Guarded(what)),
        Class::Ordinary => own.then_some(Refusal::OwnPort),
    };
    let literal = Origin { scheme: origin.scheme, host: Host::Ip(to.ip()), port: origin.port };
    match guard {
        Some(refusal) if !grant.origins.contains(&literal) => Err(refusal),
        _ => Ok(()),
    }
}

/// What an address means, wherever it is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Public, or private to a network.
    Ordinary,
    /// This machine, or what its keeper put beside it.
    Guarded(&'static str),
    /// Nothing that a request could go to.
    Never(&'static str),
}

const METADATA: Class = Class::Guarded("a cloud's metadata");

fn class(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => class_v4(address),
        IpAddr::V6(address) => class_v6(address),
    }
}

fn class_v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        [0, ..] => Class::Never("an unspecified"),
        [127, ..] => Class::Guarded("a loopback"),
        [169, 254, 169, 254] => METADATA,
        [169, 254, ..] => Class::Guarded("a link-local"),
        // Alibaba, Azure, Oracle.
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => METADATA,
        [192, 0, 0, _] => Class::Guarded("a protocol's"),
        [192, 88, 99, _] => Class::Never("an IPv6 relay's"),
        [224..=239, ..] => Class::Never("a multicast"),
        [240..=255, ..] => Class::Never("a broadcast or reserved"),
        _ => Class::Ordinary,
    }
}

fn class_v6(address: Ipv6Addr) -> Class {
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() {
        // NAT64, which clusters without IPv4 reach public IPv4 servers by. It is
        // not made for private ones (RFC 6052), nor for anything else.
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        let behind = Ipv4Addr::new(a, b, c, d);
        let shared = a == 100 && (64..128).contains(&b);
        let public = class_v4(behind) == Class::Ordinary && !behind.is_private() && !shared;
        return if public { Class::Ordinary } else { Class::Never("a NAT64") };
    }
    if hides_ipv4(address) {
        return Class::Never("an IPv4-in-IPv6");
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Never("an unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Guarded("a loopback"),
        // Amazon (all of fd00:ec2::/32: metadata, credentials of pods, time, names), Google,
        // Akamai, Scaleway, Oracle.
        [0xfd00, 0xec2, ..]
        | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
        | [0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1]
        | [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]
        | [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe] => METADATA,
        [first, ..] if first & 0xffc0 == 0xfe80 => Class::Guarded("a link-local"),
        [first, ..] if first & 0xffc0 == 0xfec0 => Class::Guarded("a site-local"),
        [first, ..] if first & 0xff00 == 0xff00 => Class::Never("a multicast"),
        _ => Class::Ordinary,
    }
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
