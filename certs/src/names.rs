//! Distinguished names and alternative names as text.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{AttributeTypeAndValue, X509Certificate, X509Name};

/// One subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    /// A host name.
    Dns(String),
    /// A URI; SPIFFE identities are URIs.
    Uri(String),
    /// An e-mail address.
    Email(String),
    /// An address.
    Ip(IpAddr),
    /// Anything else, for people only.
    Other(String),
}

impl std::fmt::Display for AltName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS:{name}"),
            Self::Uri(uri) => write!(f, "URI:{uri}"),
            Self::Email(mail) => write!(f, "email:{mail}"),
            Self::Ip(ip) => write!(f, "IP:{ip}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// The subject alternative names of a certificate; none when the extension is missing or does not parse.
pub(crate) fn alt_names(certificate: &X509Certificate<'_>) -> Vec<AltName> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names.map(alt_name).collect()
}

fn alt_name(name: &GeneralName<'_>) -> AltName {
    match name {
        GeneralName::DNSName(dns) => AltName::Dns((*dns).to_owned()),
        GeneralName::URI(uri) => AltName::Uri((*uri).to_owned()),
        GeneralName::RFC822Name(mail) => AltName::Email((*mail).to_owned()),
        GeneralName::IPAddress(bytes) => {
            match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                (Ok(v4), _) => AltName::Ip(Ipv4Addr::from(v4).into()),
                (_, Ok(v6)) => AltName::Ip(Ipv6Addr::from(v6).into()),
                _ => AltName::Other("IP:?".to_owned()),
            }
        }
        other => AltName::Other(other.to_string()),
    }
}

/// A distinguished name as RFC 2253 writes it, which is what OpenSSL's `-nameopt RFC2253` and Envoy show: last part first,
/// everything that could be taken for syntax escaped, and what is not printable ASCII as `\XX`.
pub(crate) fn distinguished(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let mut out = String::new();
    for (number, part) in parts.into_iter().rev().enumerate() {
        if number > 0 {
            out.push(',');
        }
        for (number, attribute) in part.iter().enumerate() {
            if number > 0 {
                out.push('+');
            }
            write_attribute(&mut out, attribute);
        }
    }
    out
}

fn write_attribute(out: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type();
    let id = oid.to_id_string();
    let known = SHORT_NAMES.iter().find(|(oid, _)| *oid == id);
    out.push_str(known.map_or(&*id, |(_, short)| short));
    out.push('=');
    let value = attribute
        .as_str()
        .map_or(attribute.as_slice(), str::as_bytes);
    for (at, byte) in value.iter().enumerate() {
        let is_edge_space = *byte == b' ' && (at == 0 || at + 1 == value.len());
        // Writing to a String cannot fail.
        let _ = match byte {
            // As hex pairs, which RFC 2253 allows: nothing can then end the quotes that somebody puts around the name.
            b'"' | b'\\' => write!(out, "\\{byte:02X}"),
            b',' | b'+' | b'<' | b'>' | b';' => write!(out, "\\{}", *byte as char),
            b'#' if at == 0 => out.write_str("\\#"),
            b' ' if is_edge_space => out.write_str("\\ "),
            b' '..=b'~' => out.write_char(*byte as char),
            _ => write!(out, "\\{byte:02X}"),
        };
    }
}

/// As OpenSSL names them; others stand as dotted numbers.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.72", "role"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
];

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};
    use x509_parser::prelude::FromDer;

    use super::*;

    #[test]
    fn what_could_be_taken_for_syntax_is_escaped() {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "A, \"B\"; C");
        params
            .distinguished_name
            .push(DnType::CommonName, " x\r\nO=evil\u{e9}");
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let (_, parsed) = X509Certificate::from_der(made.der()).unwrap();
        assert_eq!(
            distinguished(parsed.subject()),
            "CN=\\ x\\0D\\0AO=evil\\C3\\A9,O=A\\, \\22B\\22\\; C"
        );
    }
}
