//! One spelling per origin.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_an_origin() {
    for (text, host, port) in [
        ("https://api.example.com", "api.example.com", 443),
        ("http://api.example.com", "api.example.com", 80),
        ("https://api.example.com:8443", "api.example.com", 8443),
        ("http://my_service:8080", "my_service", 8080),
        ("http://xn--bcher-kva.example", "xn--bcher-kva.example", 80),
        ("http://127.0.0.1:8080", "127.0.0.1", 8080),
        ("http://10.0.0.7", "10.0.0.7", 80),
        ("http://[::1]:8080", "[::1]", 8080),
        ("https://[fd00::7]", "[fd00::7]", 443),
        ("http://1.2.3.4.example", "1.2.3.4.example", 80),
    ] {
        let origin = Origin::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((origin.host.to_string().as_str(), origin.port), (host, port), "{text}");
        assert_eq!(origin.to_string(), text);
    }
    assert_eq!(Origin::parse("http://h:80"), Origin::parse("http://h"));
    assert_ne!(Origin::parse("http://h:443"), Origin::parse("https://h"));
}

#[test]
fn what_is_none() {
    use OriginError::*;
    for (text, error) in [
        ("", NoScheme),
        ("api.example.com", NoScheme),
        ("://h", NoScheme),
        ("ftp://h", UnknownScheme),
        ("HTTP://h", UpperCase),
        ("http://", NoHost),
        ("http://:80", NoHost),
        ("http://h/", Path),
        ("http://h/v1", Path),
        ("http://h?x", Path),
        ("http://h#x", Path),
        ("http://h\\@evil", Path),
        ("http://user@h", Userinfo),
        ("http://h:80@evil", Userinfo),
        ("https://*.example.com", Wildcard),
        ("http://h:", Port),
        ("http://h:0", Port),
        ("http://h:080", Port),
        ("http://h:+80", Port),
        ("http://h:65536", Port),
        ("http://h:http", Port),
        ("http://[::1]8080", Port),
        ("http://API.example.com", UpperCase),
        ("http://example.com.", TrailingDot),
        ("http://127.0.0.1.", TrailingDot),
        ("http://bücher.example", NotAscii),
        ("http://127。0。0。1", NotAscii),
        ("http://ex%61mple.com", Percent),
        ("http://[fe80::1%25eth0]", Percent),
        ("http://2130706433", OddAddress),
        ("http://0x7f000001", OddAddress),
        ("http://0x7f.0.0.1", OddAddress),
        ("http://127.0.0.0x1", OddAddress),
        ("http://0177.0.0.1", OddAddress),
        ("http://127.1", OddAddress),
        ("http://127.0.0.01", OddAddress),
        ("http://256.0.0.1", OddAddress),
        ("http://example.1", OddAddress),
        ("http://::1", OddAddress),
        ("http://[::1", OddAddress),
        ("http://[0:0:0:0:0:0:0:1]", OddAddress),
        ("http://[fd00:0::7]", OddAddress),
        ("http://[v1.x]", OddAddress),
        ("http://[::ffff:127.0.0.1]", Embedded),
        ("http://[::ffff:7f00:1]", Embedded),
        ("http://[::127.0.0.1]", Embedded),
        ("http://[64:ff9b::7f00:1]", Embedded),
        ("http://[64:ff9b:1::7f00:1]", Embedded),
        ("http://[2002:7f00:1::]", Embedded),
        ("http://[2001:0:1::1]", Embedded),
        ("http://[fd00::5efe:7f00:1]", Embedded),
        ("http://0.0.0.0", Undialable),
        ("http://224.0.0.1", Undialable),
        ("http://255.255.255.255", Undialable),
        ("http://[::]", Undialable),
        ("http://[ff02::1]", Undialable),
        ("http://a..b", Name),
        ("http://.a", Name),
        ("http://-a", Name),
        ("http://a b", Name),
        ("http://a\r\nb", Name),
        ("http://a,b", Name),
    ] {
        assert_eq!(Origin::parse(text).err(), Some(error), "{text}");
    }
    assert_eq!(Origin::parse(&format!("http://{}", "a".repeat(64))).err(), Some(Name));
    assert_eq!(Origin::parse(&format!("http://{}a", "a.".repeat(127))).err(), Some(Name));
}

proptest! {
    /// What is accepted is written back as it was, but for a port that goes without saying.
    #[test]
    fn there_is_one_spelling(text in "https?://[a-zA-Z0-9.:@%*\\[\\]/_é-]{0,24}") {
        if let Ok(origin) = Origin::parse(&text) {
            let port = format!(":{}", origin.scheme.default_port());
            prop_assert_eq!(origin.to_string(), text.strip_suffix(port.as_str()).unwrap_or(&text));
        }
    }

    /// Every IPv4 address has one spelling, and every IPv6 address at most one.
    #[test]
    fn addresses_are_read_back(v4 in any::<u32>(), v6 in any::<u128>()) {
        for address in [IpAddr::V4(v4.into()), IpAddr::V6(v6.into())] {
            let text = format!("http://{}", Host::Ip(address));
            if let Ok(origin) = Origin::parse(&text) {
                prop_assert_eq!(origin.host, Host::Ip(address));
            }
        }
    }
}
