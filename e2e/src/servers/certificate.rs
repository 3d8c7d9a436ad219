//! A certificate for servers on this machine, signed by an authority that nobody else knows.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::ServerError;

/// The names a certificate is for, beside those a test asks for.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// A server's certificate and key, and the authority that signed it, in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate of the authority: what a client trusts.
    pub authority: String,
    chain: String,
    key: String,
}

impl Certificate {
    /// A certificate for `localhost`, 127.0.0.1 and these names, by an authority of its own.
    pub fn new(names: &[&str]) -> Result<Self, ServerError> {
        let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
        let mut authority = CertificateParams::new(Vec::new())?;
        // OpenSSL takes a certificate for self-signed whose issuer has its own name.
        authority.distinguished_name.push(DnType::CommonName, "authority of a test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);
        let names: Vec<String> = NAMES.iter().chain(names).map(|name| (*name).to_owned()).collect();
        let chain = CertificateParams::new(names)?.signed_by(&key, &issuer)?.pem();
        Ok(Self { authority: authority_pem, chain, key: key.serialize_pem() })
    }

    /// Writes certificate and key into a directory; gives their paths.
    pub(super) fn write(&self, directory: &Path) -> Result<(PathBuf, PathBuf), ServerError> {
        let (chain, key) = (directory.join("server.crt"), directory.join("server.key"));
        std::fs::write(&chain, &self.chain)?;
        std::fs::write(&key, &self.key)?;
        Ok((chain, key))
    }
}
