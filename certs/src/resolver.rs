//! Which certificate a client is shown: by the name it asks for (SNI, RFC 6066), and by what it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::bundle::Bundle;
use crate::names::AltName;

/// The certificates of one generation by name. Fail closed: where there is none, nothing is presented, never something
/// made up.
#[derive(Debug, Default)]
pub(crate) struct CertResolver {
    pairs: Vec<Option<Arc<CertifiedKey>>>,
    exact: HashMap<String, Vec<usize>>,
    /// `*.example.org` by `example.org`: one label, RFC 9525.
    wildcard: HashMap<String, Vec<usize>>,
    /// For no name, and for a name nobody has: the first certificate, and those of other algorithms for the same names.
    default: Vec<usize>,
}

impl CertResolver {
    pub(crate) fn new(certificates: &[Option<Arc<Bundle>>]) -> Self {
        let mut presented = Self {
            pairs: certificates
                .iter()
                .map(|bundle| bundle.as_ref().map(|bundle| Arc::clone(&bundle.pair)))
                .collect(),
            ..Self::default()
        };
        for (number, bundle) in certificates.iter().enumerate() {
            let names = bundle.iter().flat_map(|bundle| &bundle.leaf().names);
            for name in names {
                presented.add(name, number);
            }
        }
        if let Some(Some(first)) = certificates.first() {
            let has_same_names = |other: &Bundle| {
                let (first, other) = (&first.leaf().names, &other.leaf().names);
                first.len() == other.len() && first.iter().all(|name| other.contains(name))
            };
            presented.default = (0..certificates.len())
                .filter(|number| {
                    *number == 0
                        || certificates[*number]
                            .as_ref()
                            .is_some_and(|bundle| has_same_names(bundle))
                })
                .collect();
        }
        let pairs = &presented.pairs;
        let lists = presented
            .exact
            .values_mut()
            .chain(presented.wildcard.values_mut())
            .chain(std::iter::once(&mut presented.default));
        for list in lists {
            // Cheaper and smaller first; within one algorithm, as configured.
            list.sort_by_key(|number| is_rsa(pairs[*number].as_ref()));
        }
        presented
    }

    fn add(&mut self, name: &AltName, number: usize) {
        let list = match name {
            AltName::Dns(dns) => {
                let dns = dns.to_ascii_lowercase();
                match dns.strip_prefix("*.") {
                    Some(parent) => self.wildcard.entry(parent.to_owned()),
                    None => self.exact.entry(dns),
                }
            }
            // An address is never asked for by SNI: who gets a 421 for one could not do better.
            _ => return,
        };
        let list = list.or_default();
        if !list.contains(&number) {
            list.push(number);
        }
    }

    /// Those that have a name exactly, and those that have it by a wildcard.
    fn holders(&self, name: &str) -> [Option<&Vec<usize>>; 2] {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        [
            self.exact.get(&name),
            parent.and_then(|parent| self.wildcard.get(parent)),
        ]
    }

    /// Those that a client may be shown, best first.
    pub(crate) fn candidates(&self, sni: Option<&str>) -> &[usize] {
        sni.and_then(|name| self.holders(name).into_iter().flatten().next())
            .unwrap_or(&self.default)
    }

    /// Whether `host` is a name of a certificate, but of none that a client who asked for `sni` is shown (RFC 9110,
    /// section 15.5.20).
    pub(crate) fn is_misdirected(&self, sni: Option<&str>, host: &str) -> bool {
        // Also those hidden behind another one's closer match.
        let holders = self.holders(host);
        let holds = |number: &usize| holders.iter().flatten().any(|list| list.contains(number));
        holders.iter().any(Option::is_some) && !self.candidates(sni).iter().any(holds)
    }
}

impl ResolvesServerCert for CertResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let pairs = || {
            candidates
                .iter()
                .filter_map(|number| self.pairs.get(*number)?.as_ref())
        };
        let fits =
            |pair: &&Arc<CertifiedKey>| pair.key.choose_scheme(hello.signature_schemes()).is_some();
        // Where none fits, rustls finds the words for it.
        pairs().find(fits).or_else(|| pairs().next()).cloned()
    }
}

fn is_rsa(pair: Option<&Arc<CertifiedKey>>) -> bool {
    pair.is_some_and(|pair| pair.key.algorithm() == SignatureAlgorithm::RSA)
}
