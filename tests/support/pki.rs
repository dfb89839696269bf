//! A CA, leaves, and a folder laid out as the kubelet mounts a Secret.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

pub(crate) struct Ca {
    pub(crate) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key as PEM, and the certificate as it is seen on the wire.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test CA");
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn leaf(&self) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
        }
    }
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
        let old = format!("..v{}", self.version);
        self.version += 1;
        let new = format!("..v{}", self.version);
        fs::create_dir(self.file(&new)).unwrap();
        fs::write(self.file(&new).join("tls.crt"), certificate).unwrap();
        fs::write(self.file(&new).join("tls.key"), key).unwrap();
        symlink(&new, self.file("..data_tmp")).unwrap();
        fs::rename(self.file("..data_tmp"), self.file("..data")).unwrap();
        for name in ["tls.crt", "tls.key"] {
            // Only the first update makes them; later ones go through `..data`.
            let _ = symlink(Path::new("..data").join(name), self.file(name));
        }
        let _ = fs::remove_dir_all(self.file(&old));
    }
}
