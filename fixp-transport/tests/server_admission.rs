//! Lists of addresses, and the counting of connections.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;

use fixp_transport::server::AllowList;
use fixp_transport::server::admission::{Admission, TurnedAway};
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn list(text: &str) -> AllowList {
    text.parse().unwrap()
}

#[test]
fn networks_ranges_and_single_addresses() {
    let list = list("10.0.0.0/8,192.168.1.10-192.168.1.20 172.16.0.1 2001:db8::/32, fe80::1-fe80::5, ::1");
    for inside in [
        "10.0.0.0",
        "10.255.255.255",
        "192.168.1.10",
        "192.168.1.20",
        "172.16.0.1",
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe80::3",
        "::1",
        "::ffff:10.1.2.3",
    ] {
        assert!(list.allows(ip(inside)), "{inside}");
    }
    for outside in [
        "9.255.255.255",
        "11.0.0.0",
        "192.168.1.9",
        "192.168.1.21",
        "172.16.0.2",
        "2001:db9::",
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe80::6",
        "::2",
        "::ffff:11.0.0.0",
    ] {
        assert!(!list.allows(ip(outside)), "{outside}");
    }
}

#[test]
fn mapped_addresses_are_ipv4() {
    assert!(list("::ffff:10.0.0.0/104").allows(ip("10.9.8.7")));
    assert!(!list("::ffff:10.0.0.0/104").allows(ip("11.0.0.0")));
    assert!(list("10.0.0.1").allows(ip("::ffff:10.0.0.1")));
    // All of IPv6 is not IPv4.
    assert!(!list("::/0").allows(ip("10.0.0.1")));
    assert!(list("0.0.0.0/0").allows(ip("255.255.255.255")));
    assert!(!list("0.0.0.0/0").allows(ip("::1")));
}

#[test]
fn everyone_and_nobody() {
    for address in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
        assert!(AllowList::everyone().allows(ip(address)));
        assert!(!AllowList::nobody().allows(ip(address)));
    }
    assert_eq!(list("0.0.0.0/0, ::/0"), AllowList::everyone());
    assert_eq!(list(""), AllowList::nobody());
}

#[test]
fn what_is_no_entry_is_named() {
    for wrong in
        ["10.0.0", "10.0.0.0/33", "::/129", "10.0.0.2-10.0.0.1", "10.0.0.1-::1", "a", "10.0.0.1-", "/8"]
    {
        assert_eq!(wrong.parse::<AllowList>().unwrap_err().entry, wrong);
    }
}

#[test]
fn touching_entries_are_one() {
    assert_eq!(list("10.0.0.0/9 10.128.0.0/9"), list("10.0.0.0/8"));
    assert_eq!(list("10.0.0.0/8 10.1.0.0/16"), list("10.0.0.0/8"));
}

proptest! {
    /// One search over merged ranges says what a look at every entry says.
    #[test]
    fn the_search_is_right(entries in prop::collection::vec((0_u32..64, 0_u32..16), 0..12), probe in 0_u32..80) {
        let text: Vec<_> = entries
            .iter()
            .map(|(first, more)| {
                format!("{}-{}", IpAddr::V4((*first).into()), IpAddr::V4((first + more).into()))
            })
            .collect();
        let naive = entries.iter().any(|(first, more)| (*first..=first + more).contains(&probe));
        prop_assert_eq!(AllowList::new(&text).unwrap().allows(IpAddr::V4(probe.into())), naive);
    }

    /// No text makes it panic.
    #[test]
    fn any_text_is_read_or_refused(text in "[0-9a-f:./, -]{0,40}") {
        let _ = text.parse::<AllowList>();
    }
}

#[test]
fn connections_are_counted_in_all_and_by_source() {
    let admission = Admission::new(AllowList::everyone(), 4, 2);
    let first = admission.admit(ip("10.0.0.1")).unwrap();
    let second = admission.admit(ip("::ffff:10.0.0.1")).unwrap();
    assert_eq!(admission.admit(ip("10.0.0.1")).unwrap_err(), TurnedAway::SourceFull);
    let third = admission.admit(ip("2001:db8::1")).unwrap();
    let fourth = admission.admit(ip("2001:db8::ffff:0:0:1")).unwrap();
    assert_eq!(admission.admit(ip("10.0.0.2")).unwrap_err(), TurnedAway::Full);
    drop((third, fourth));
    // The same /64, then another.
    let same = admission.admit(ip("2001:db8:0:0:1::1")).unwrap();
    let other = admission.admit(ip("2001:db8:0:1::1")).unwrap();
    assert_eq!(admission.connections(), 4);
    drop((first, second, same, other));
    assert_eq!(admission.connections(), 0);
    assert!(admission.admit(ip("10.0.0.1")).is_ok());
}

#[test]
fn one_64_is_one_source() {
    let admission = Admission::new(AllowList::everyone(), 100, 1);
    let _first = admission.admit(ip("2001:db8::1")).unwrap();
    assert_eq!(admission.admit(ip("2001:db8::2")).unwrap_err(), TurnedAway::SourceFull);
    assert!(admission.admit(ip("2001:db8:0:1::2")).is_ok());
}

#[test]
fn who_is_not_on_the_list_is_not_counted() {
    let admission = Admission::new(list("10.0.0.0/8"), 1, 1);
    assert_eq!(admission.admit(ip("11.0.0.1")).unwrap_err(), TurnedAway::NotAllowed);
    assert_eq!(admission.connections(), 0);
}
