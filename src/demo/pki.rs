//! A throw-away CA and two certificates, laid out as the kubelet lays out a mounted Secret: `tls.crt` and `tls.key` are
//! links through `..data`, which points to the first; the second waits for a rotation.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// Writes `ca.crt` and the folder `tls`.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    let ca_key = KeyPair::generate().map_err(io::Error::other)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Portcullis demo CA (throw-away)");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = params.self_signed(&ca_key).map_err(io::Error::other)?;
    fs::write(folder.join("ca.crt"), ca.pem())?;
    let issuer = Issuer::new(params, ca_key);
    let tls = folder.join("tls");
    fs::create_dir(&tls)?;
    for name in ["..first", "..second"] {
        leaf(&tls.join(name), &issuer)?;
    }
    symlink("..first", tls.join("..data"))?;
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), tls.join(name))?;
    }
    Ok(())
}

fn leaf(folder: &Path, issuer: &Issuer<'_, KeyPair>) -> io::Result<()> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::HOUR, now + Duration::WEEK);
    let certificate = params.signed_by(&key, issuer).map_err(io::Error::other)?;
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    fs::write(folder.join("tls.crt"), certificate.pem())?;
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join("tls.key"))?;
    io::Write::write_all(&mut file, key.serialize_pem().as_bytes())
}
