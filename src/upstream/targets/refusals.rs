//! What no target may be, whoever asks: an address that is a key to the machine (instance metadata), that only means something
//! on one link, or that is nobody's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::own::plain;
use crate::upstream::target::{Endpoint, TargetUrl};

/// Why a change was refused: a stable word and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) &'static str, pub(crate) String);

/// Refuses a target that cannot be one, by what can be known without resolving its name.
pub(crate) fn refuse(url: &TargetUrl) -> Result<(), Refused> {
    match url.endpoint() {
        Endpoint::Address(address) => refuse_address(address.ip())
            .map_err(|(reason, why)| Refused(reason, format!("{url} {why}"))),
        Endpoint::Name(name, _) if METADATA_NAMES.contains(&name.as_str()) => {
            Err(Refused("metadata", format!("{url} {METADATA}")))
        }
        Endpoint::Name(..) | Endpoint::Localhost(_) | Endpoint::Unix(_) => Ok(()),
    }
}

/// The same for an address, which may be what a name resolves to.
pub(crate) fn refuse_address(ip: IpAddr) -> Result<(), (&'static str, &'static str)> {
    let ip = plain(ip);
    if METADATA_ADDRESSES.contains(&ip) {
        return Err(("metadata", METADATA));
    }
    let (is_link_local, is_nobodys) = match ip {
        IpAddr::V4(v4) => (
            v4.is_link_local(),
            v4.octets()[0] == 0 || v4.octets()[0] >= 224,
        ),
        IpAddr::V6(v6) => (
            v6.is_unicast_link_local(),
            v6.is_unspecified() || v6.is_multicast() || is_compatible(v6) || is_site_local(v6),
        ),
    };
    if is_link_local {
        return Err((
            "link_local",
            "is link-local: it leads to the node, not to an application",
        ));
    }
    if is_nobodys {
        return Err((
            "unusable",
            "is no address of an application; write the one that it listens on",
        ));
    }
    Ok(())
}

/// IPv4 addresses as RFC 4291, section 2.5.5.1, once dressed them: nobody uses it, so it can only be a disguise.
fn is_compatible(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [0, 0, 0, 0, 0, 0, high, _] if high != 0)
}

/// Deprecated by RFC 3879.
fn is_site_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfec0
}

const METADATA: &str =
    "is where a cloud keeps its credentials (instance metadata); no application is there";

/// AWS, Google, Azure and most others; AWS and Google over IPv6; Alibaba; Oracle; Azure's wire server.
const METADATA_ADDRESSES: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];
const METADATA_NAMES: [&str; 5] = [
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_to_the_machine_are_refused_in_every_dress() {
        for (address, reason) in [
            ("169.254.169.254", "metadata"),
            ("::ffff:169.254.169.254", "metadata"),
            ("64:ff9b::169.254.169.254", "metadata"),
            ("64:ff9b:1::a9fe:a9fe", "metadata"),
            ("2002:a9fe:a9fe::1", "metadata"),
            ("::ffff:0:169.254.169.254", "metadata"),
            ("240.0.0.1", "unusable"),
            ("fec0::1", "unusable"),
            ("fd00:ec2::254", "metadata"),
            ("100.100.100.200", "metadata"),
            ("169.254.0.1", "link_local"),
            ("::ffff:a9fe:1", "link_local"),
            ("fe80::1", "link_local"),
            ("0.0.0.0", "unusable"),
            ("0.1.2.3", "unusable"),
            ("::", "unusable"),
            ("::127.0.0.1", "unusable"),
            ("224.0.0.1", "unusable"),
            ("255.255.255.255", "unusable"),
            ("ff02::1", "unusable"),
        ] {
            let refused = refuse_address(address.parse().unwrap());
            assert_eq!(refused.unwrap_err().0, reason, "{address}");
        }
        for address in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "fd00::1",
            "192.168.0.1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(
                refuse_address(address.parse().unwrap()),
                Ok(()),
                "{address}"
            );
        }
    }

    #[test]
    fn a_name_of_instance_metadata_needs_no_resolver_to_be_refused() {
        for url in [
            "http://metadata.google.internal",
            "http://METADATA:80",
            "h2c://metadata.goog.:1",
        ] {
            let refused = refuse(&TargetUrl::parse(url).unwrap());
            assert_eq!(refused.unwrap_err().0, "metadata", "{url}");
        }
        assert_eq!(
            refuse(&TargetUrl::parse("http://metadata.example").unwrap()),
            Ok(())
        );
    }
}
