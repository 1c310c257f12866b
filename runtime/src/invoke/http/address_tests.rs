//! Every kind of address by name and by literal, with and without that literal listed.

use proptest::prelude::*;

use super::*;

fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn grant(origins: &[&str]) -> Http {
    Http { origins: origins.iter().map(|text| origin(text)).collect(), ..Http::default() }
}

fn at(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 8080)
}

const NAME: &str = "http://api.example:8080";

#[test]
fn by_name_only_public_and_private_addresses_are_reached() {
    let grant = grant(&[NAME]);
    for (address, reached) in [
        ("93.184.216.34", true),
        ("10.0.0.7", true),
        ("172.16.0.1", true),
        ("192.168.1.1", true),
        ("100.64.0.1", true),
        ("2606:2800:220:1::1", true),
        ("fd12:3456::7", true),
        ("64:ff9b::5db8:d822", true),
        ("0.0.0.0", false),
        ("0.1.2.3", false),
        ("127.0.0.1", false),
        ("127.255.255.254", false),
        ("169.254.0.1", false),
        ("169.254.169.254", false),
        ("169.254.170.2", false),
        ("100.100.100.200", false),
        ("168.63.129.16", false),
        ("192.0.0.192", false),
        ("224.0.0.1", false),
        ("239.255.255.255", false),
        ("240.0.0.1", false),
        ("255.255.255.255", false),
        ("::", false),
        ("::1", false),
        ("fe80::1", false),
        ("febf::1", false),
        ("fec0::1", false),
        ("ff02::1", false),
        ("fd00:ec2::254", false),
        ("fd00:ec2::23", false),
        ("fd20:ce::254", false),
        ("fd00:a9fe:a9fe::1", false),
        ("fd00:42::42", false),
        ("fd00:c1::a9fe:a9fe", false),
        ("::ffff:127.0.0.1", false),
        ("::ffff:169.254.169.254", false),
        ("::ffff:93.184.216.34", false),
        ("::127.0.0.1", false),
        ("::ffff:0:127.0.0.1", false),
        ("64:ff9b::7f00:1", false),
        ("64:ff9b::a9fe:a9fe", false),
        ("64:ff9b::a00:7", false),
        ("64:ff9b::6440:1", false),
        ("64:ff9b:1::7f00:1", false),
        ("2002:7f00:1::1", false),
        ("2001:0:7f00:1::", false),
        ("fd00::5efe:7f00:1", false),
    ] {
        let decided = may_dial(&grant, &grant.origins[0], at(address), false);
        assert_eq!(decided.is_ok(), reached, "{address}: {decided:?}");
    }
}

#[test]
fn guarded_addresses_are_reached_where_they_are_listed() {
    for address in
        ["127.0.0.1", "169.254.169.254", "169.254.0.9", "100.100.100.200", "[::1]", "[fe80::1]", "[fd00:ec2::254]"]
    {
        let literal = format!("http://{address}:8080");
        let to = at(address.trim_matches(['[', ']']));
        let listed = grant(&[NAME, &literal]);
        assert_eq!(may_dial(&listed, &origin(&literal), to, false), Ok(()), "{address}");
        assert_eq!(may_dial(&listed, &origin(NAME), to, false), Ok(()), "{address}: the same place by a listed name");
        for other in [format!("https://{address}:8080"), format!("http://{address}:8081")] {
            let elsewhere = grant(&[NAME, &other]);
            let refused = may_dial(&elsewhere, &origin(NAME), to, false);
            assert!(matches!(refused, Err(Refusal::Guarded(_))), "{address} {other}: {refused:?}");
            assert_eq!(may_dial(&elsewhere, &origin(&literal), to, false), Err(Refusal::NotListed));
        }
    }
}

#[test]
fn what_is_not_listed_is_not_dialled() {
    let listed = grant(&["https://api.example:8443"]);
    for text in ["https://api.example", "http://api.example:8443", "https://api.example:8444", "https://b.example:8443"]
    {
        let asked = origin(text);
        let to = SocketAddr::new([93, 184, 216, 34].into(), asked.port);
        assert_eq!(may_dial(&listed, &asked, to, false), Err(Refusal::NotListed), "{text}");
    }
    assert_eq!(may_dial(&grant(&[]), &origin(NAME), at("93.184.216.34"), false), Err(Refusal::NotListed));
}

#[test]
fn an_address_is_dialled_as_it_was_asked_for() {
    let listed = grant(&["http://10.0.0.7:8080", "http://10.0.0.8:8080", NAME]);
    let decided = |to: &str, port: u16| {
        let to = SocketAddr::new(to.parse().unwrap(), port);
        may_dial(&listed, &origin("http://10.0.0.7:8080"), to, false)
    };
    assert_eq!(decided("10.0.0.7", 8080), Ok(()));
    assert_eq!(decided("10.0.0.8", 8080), Err(Refusal::OtherAddress), "listed itself, but not asked for");
    assert_eq!(decided("10.0.0.7", 8081), Err(Refusal::OtherAddress));
    let other_port = SocketAddr::new([93, 184, 216, 34].into(), 22);
    assert_eq!(may_dial(&listed, &origin(NAME), other_port, false), Err(Refusal::OtherAddress));
}

#[test]
fn the_processs_own_ports_need_the_address_listed() {
    let listed = grant(&[NAME, "http://10.0.0.7:8080"]);
    assert_eq!(may_dial(&listed, &origin(NAME), at("10.0.0.9"), true), Err(Refusal::OwnPort));
    assert_eq!(may_dial(&listed, &origin(NAME), at("10.0.0.7"), true), Ok(()));
    assert_eq!(may_dial(&listed, &origin("http://10.0.0.7:8080"), at("10.0.0.7"), true), Ok(()));
}

proptest! {
    /// Against the standard library's own idea of what is special.
    #[test]
    fn what_the_standard_library_calls_special_is_never_reached_by_name(v4 in any::<u32>(), tail in any::<u64>(), kind in 0..4_u8) {
        let v4 = Ipv4Addr::from(v4);
        let v6 = match kind {
            0 => v4.to_ipv6_mapped(),
            1 => Ipv6Addr::from(0xfe80_u128 << 112 | u128::from(tail)),
            2 => Ipv6Addr::from(0xff02_u128 << 112 | u128::from(tail)),
            _ => Ipv6Addr::from(0x2002_u128 << 112 | u128::from(u32::from(v4)) << 80 | u128::from(tail)),
        };
        let grant = grant(&[NAME]);
        let by_name = |to: IpAddr| may_dial(&grant, &grant.origins[0], SocketAddr::new(to, 8080), false).is_ok();
        prop_assert!(!by_name(v6.into()));
        let special = v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_unspecified() || v4.is_broadcast();
        prop_assert!(!(special && by_name(v4.into())));
        prop_assert!(!v4.is_private() || by_name(v4.into()), "private addresses stay reachable");
    }
}
