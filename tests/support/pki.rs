//! A CA, leaves, and a folder laid out as the kubelet mounts a Secret.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    RevokedCertParams, RsaKeySize, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use time::{Duration, OffsetDateTime};

#[derive(Clone)]
pub(crate) struct Ca {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    issuer: Arc<Issuer<'static, KeyPair>>,
}

/// A certificate and its key as PEM, and the certificate as it is seen on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        Self::named("test CA")
    }

    pub(crate) fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Arc::new(Issuer::new(params, key)),
        }
    }

    /// A CA below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Arc::new(Issuer::new(params, key)),
        }
    }

    pub(crate) fn leaf(&self) -> Leaf {
        self.leaf_for(&["localhost", "127.0.0.1"])
    }

    pub(crate) fn leaf_for(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, |_| {})
    }

    /// A leaf with anything else that a certificate may have.
    pub(crate) fn leaf_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        self.sign(names, &KeyPair::generate().unwrap(), change)
    }

    pub(crate) fn rsa_leaf(&self, names: &[&str]) -> Leaf {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        self.sign(names, &key, |_| {})
    }

    /// A client's certificate with this common name, these URIs, and a serial number.
    pub(crate) fn client(&self, name: &str, uris: &[&str], serial: u64) -> Leaf {
        self.leaf_with(&[], |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.serial_number = Some(SerialNumber::from(serial));
            let uri = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
            params.subject_alt_names = uris.iter().map(uri).collect();
        })
    }

    fn sign(
        &self,
        names: &[&str],
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        Leaf {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
        }
    }

    /// A CRL that revokes these serial numbers and is good until then, PEM.
    pub(crate) fn crl(&self, serials: &[u64], next_update: OffsetDateTime) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: next_update - Duration::days(2),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: next_update - Duration::days(1),
            next_update,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

impl Leaf {
    /// What a TLS client presents.
    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    /// The chain file with these issuers behind the leaf.
    pub(crate) fn chain(&self, issuers: &[&Ca]) -> String {
        let issuers = issuers.iter().map(|ca| ca.pem.as_str());
        std::iter::once(self.certificate.as_str())
            .chain(issuers)
            .collect()
    }

    pub(crate) fn sha256(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.der);
        let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
        hex.collect()
    }
}

/// A day from now.
pub(crate) fn tomorrow() -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::days(1)
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A mounted `kubernetes.io/tls` Secret. Deleted on drop.
pub(crate) struct Secret {
    folder: tempfile::TempDir,
    version: u32,
}

impl Secret {
    /// A folder with no Secret in it yet.
    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            version: 0,
        }
    }

    pub(crate) fn holding(leaf: &Leaf) -> Self {
        let mut secret = Self::empty();
        secret.swap(leaf);
        secret
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the kubelet's AtomicWriter does on an update.
    pub(crate) fn swap(&mut self, leaf: &Leaf) {
        self.swap_files(&leaf.certificate, &leaf.key);
    }

    pub(crate) fn swap_files(&mut self, certificate: &str, key: &str) {
        self.swap_all(&[("tls.crt", certificate), ("tls.key", key)]);
    }

    /// The same with any files: those that were there before and are not named are gone.
    pub(crate) fn swap_all(&mut self, files: &[(&str, &str)]) {
        let old = format!("..v{}", self.version);
        self.version += 1;
        let new = format!("..v{}", self.version);
        fs::create_dir(self.file(&new)).unwrap();
        for (name, content) in files {
            fs::write(self.file(&new).join(name), content).unwrap();
        }
        symlink(&new, self.file("..data_tmp")).unwrap();
        fs::rename(self.file("..data_tmp"), self.file("..data")).unwrap();
        for (name, _) in files {
            // Only the first update makes them; later ones go through `..data`.
            let _ = symlink(Path::new("..data").join(name), self.file(name));
        }
        let _ = fs::remove_dir_all(self.file(&old));
    }
}
