//! `--allow-san`: which names a client's certificate must have one of.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::names::AltName;

/// One pattern. `*` stands for one or more characters within one label of a host name or one segment of a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SanPattern {
    /// `DNS:*.corp.example`: without regard to case (RFC 4343).
    Dns(String),
    /// `URI:spiffe://corp.example/ns/*/sa/web`: byte by byte.
    Uri(String),
    /// `email:*@corp.example`: without regard to case.
    Email(String),
    /// `IP:10.1.2.3` or `IP:10.0.0.0/8`: an address, or a network by its prefix length.
    Ip(IpAddr, u8),
}

impl SanPattern {
    /// Whether a name of a certificate fits.
    pub fn allows(&self, name: &AltName) -> bool {
        match (self, name) {
            (Self::Dns(pattern), AltName::Dns(name)) => {
                fits(pattern, &name.to_ascii_lowercase(), b".")
            }
            (Self::Uri(pattern), AltName::Uri(name)) => fits(pattern, name, b"/"),
            (Self::Email(pattern), AltName::Email(name)) => {
                match (pattern.split_once('@'), name.rsplit_once('@')) {
                    (Some((user, host)), Some((own_user, own_host))) => {
                        fits(user, &own_user.to_ascii_lowercase(), b"")
                            && fits(host, &own_host.to_ascii_lowercase(), b".")
                    }
                    _ => false,
                }
            }
            (Self::Ip(network, bits), AltName::Ip(ip)) => contains(*network, *bits, *ip),
            _ => false,
        }
    }
}

/// `*` matches one or more bytes, none of which is a separator. Patterns are short and few; what they are matched
/// against is the client's, so the matching is linear: each `*` remembers only the last place to go on from.
fn fits(pattern: &str, text: &str, separators: &[u8]) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    // Where the last star stands, and how far it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        if pattern.get(at) == Some(&b'*') && !separators.contains(&text[from]) {
            star = Some((at, from + 1));
            (at, from) = (at + 1, from + 1);
        } else if pattern.get(at) == Some(&text[from]) && text[from] != b'*' {
            (at, from) = (at + 1, from + 1);
        } else {
            match star {
                Some((stood, eaten)) if !separators.contains(&text[eaten]) => {
                    star = Some((stood, eaten + 1));
                    (at, from) = (stood + 1, eaten + 1);
                }
                _ => return false,
            }
        }
    }
    at == pattern.len()
}

fn contains(network: IpAddr, bits: u8, ip: IpAddr) -> bool {
    let (network, ip, width) = match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => (
            u128::from(u32::from(network)),
            u128::from(u32::from(ip)),
            32,
        ),
        (IpAddr::V6(network), IpAddr::V6(ip)) => (u128::from(network), u128::from(ip), 128),
        _ => return false,
    };
    let ignored = u32::from(width - bits);
    ignored == 128 || (network ^ ip) >> ignored == 0
}

impl FromStr for SanPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let prefixed = text.split_once(':').and_then(|(kind, value)| {
            let is_it = |known: &&&str| known.eq_ignore_ascii_case(kind);
            Some((*KINDS.iter().find(is_it)?, value))
        });
        let (kind, value) = match prefixed {
            Some((kind, value)) => (kind, value),
            _ if text.contains("://") => ("URI", text),
            _ if text.contains('@') => ("email", text),
            _ if network(text).is_some() => ("IP", text),
            _ => ("DNS", text),
        };
        let wrong = |what: &str| {
            Err(format!(
                "{text:?} is not {what}; patterns look like DNS:*.corp.example, URI:spiffe://corp.example/ns/*/sa/web, email:*@corp.example or IP:10.0.0.0/8"
            ))
        };
        // Matching goes back to the last star only, so two stars in a row would say nothing that one does not.
        if value.is_empty()
            || value.contains("**")
            || !value.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return wrong("a pattern");
        }
        match kind {
            "URI" if value.contains(':') => Ok(Self::Uri(value.to_owned())),
            "URI" => wrong("a URI"),
            "email" if value.matches('@').count() == 1 => {
                Ok(Self::Email(value.to_ascii_lowercase()))
            }
            "email" => wrong("an e-mail address"),
            "IP" => match network(value) {
                Some((ip, bits)) => Ok(Self::Ip(ip, bits)),
                None => wrong("an address or a network"),
            },
            _ if value.contains([':', '/', '@']) => wrong("a host name"),
            _ => Ok(Self::Dns(value.to_ascii_lowercase())),
        }
    }
}

/// The prefixes, in any case.
const KINDS: [&str; 4] = ["DNS", "URI", "email", "IP"];

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let width = if ip.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(width);
    (bits <= width).then_some((ip, bits))
}

impl fmt::Display for SanPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS:{name}"),
            Self::Uri(uri) => write!(f, "URI:{uri}"),
            Self::Email(mail) => write!(f, "email:{mail}"),
            Self::Ip(ip, bits) => write!(f, "IP:{ip}/{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, name: &AltName) -> bool {
        pattern.parse::<SanPattern>().unwrap().allows(name)
    }

    #[test]
    fn a_star_stays_within_its_label_or_segment() {
        let dns = |name: &str| AltName::Dns(name.into());
        assert!(allows("DNS:*.corp.test", &dns("App.Corp.test")));
        assert!(allows("dns:APP-*.corp.test", &dns("app-1.corp.test")));
        assert!(allows("app-*.corp.test", &dns("app-1.corp.test")));
        for wrong in [
            "corp.test",
            ".corp.test",
            "a.b.corp.test",
            "app.corp.test.evil",
            "appXcorp.test",
        ] {
            assert!(!allows("DNS:*.corp.test", &dns(wrong)), "{wrong}");
        }
        let uri = |text: &str| AltName::Uri(text.into());
        let pattern = "spiffe://corp.test/ns/*/sa/web";
        assert!(allows(pattern, &uri("spiffe://corp.test/ns/prod/sa/web")));
        for wrong in [
            "spiffe://corp.test/ns//sa/web",
            "spiffe://corp.test/ns/a/b/sa/web",
            "spiffe://corp.test/ns/prod/sa/web2",
            "spiffe://corp.test/ns/prod/sa/WEB",
        ] {
            assert!(!allows(pattern, &uri(wrong)), "{wrong}");
        }
        assert!(allows("URI:a:*b*c/d", &uri("a:xbyybzc/d")));
        assert!(!allows("URI:a:*b*c/d", &uri("a:xb/yc/d")));
    }

    #[test]
    fn kinds_do_not_mix() {
        assert!(!allows(
            "DNS:app.test",
            &AltName::Uri("app.test".to_owned())
        ));
        assert!(!allows("10.0.0.0/8", &AltName::Dns("10.0.0.1".to_owned())));
        let mail = |text: &str| AltName::Email(text.into());
        assert!(allows("*@corp.test", &mail("Some.One@CORP.test")));
        assert!(!allows("*@corp.test", &mail("x@corp.test@evil.test")));
        let ip = |text: &str| AltName::Ip(text.parse().unwrap());
        assert!(allows("IP:10.0.0.0/8", &ip("10.9.8.7")));
        assert!(!allows("IP:10.0.0.0/8", &ip("11.0.0.1")));
        assert!(!allows("IP:10.0.0.0/8", &ip("::ffff:10.0.0.1")));
        assert!(allows("::/0", &ip("2001:db8::1")));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for wrong in [
            "",
            "DNS:",
            "URI:x",
            "IP:host",
            "IP:1.2.3.4/33",
            "email:x",
            "DNS:a/b",
            "a b",
            "**.x",
        ] {
            assert!(wrong.parse::<SanPattern>().is_err(), "{wrong}");
        }
    }
}
