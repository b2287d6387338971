//! Identities in PKCS#12 files, as phones, browsers, Java and Windows import them.

use std::path::Path;
use std::str::FromStr;

use der::ErrorKind;
use p12_keystore::error::Error as StoreError;
use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, Pkcs12Archive,
    PrivateKey as StoredKey, PrivateKeyChain,
};
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};

use super::file::write_private;
use super::identity::Identity;
use super::key::PrivateKey;
use super::x509::X509Certificate;
use crate::error::Result;
use crate::error::input::{InvalidInput, quote};

/// The largest PKCS#12 file that is read, in bytes. One identity has a few KiB.
const MAX_LEN: usize = 1 << 20;

/// How a PKCS#12 file is encrypted: a trade between strength and what can read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pkcs12Profile {
    /// AES-256 with PBKDF2 and SHA-256, written `modern`. What OpenSSL 3, Java 8u301 and later, Android 11 and later and
    /// current versions of Windows, macOS and iOS read. The default.
    #[default]
    Modern,
    /// Triple DES with SHA-1, written `legacy`. For older Android, iOS, macOS, Windows and Java. It protects the key only
    /// as far as the password is long and random.
    Legacy,
}

impl Pkcs12Profile {
    /// Returns the name of the profile.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Legacy => "legacy",
        }
    }
}

impl FromStr for Pkcs12Profile {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let found = [Self::Modern, Self::Legacy]
            .into_iter()
            .find(|known| known.as_str() == text);
        found.ok_or_else(|| {
            let problem = format!("{} is unknown; give modern or legacy", quote(text));
            InvalidInput::new("PKCS#12 profile", problem)
        })
    }
}

/// How [`Identity::to_pkcs12`] writes a file.
#[derive(Clone, Debug)]
#[must_use]
pub struct Pkcs12Options {
    password: SecretString,
    friendly_name: Option<String>,
    profile: Pkcs12Profile,
}

impl Pkcs12Options {
    /// Encrypts the file with this password, in the profile [`Pkcs12Profile::Modern`].
    ///
    /// The password is wiped when the options are dropped. Choose ASCII: programs disagree about other characters.
    pub fn new(password: impl Into<String>) -> Self {
        Self {
            password: password.into().into(),
            friendly_name: None,
            profile: Pkcs12Profile::default(),
        }
    }

    /// Sets the name of the entry that programs show, and Java's alias. The default is the certificate's common name.
    pub fn friendly_name(mut self, name: impl Into<String>) -> Self {
        self.friendly_name = Some(name.into());
        self
    }

    /// Sets the profile.
    pub fn profile(mut self, profile: Pkcs12Profile) -> Self {
        self.profile = profile;
        self
    }

    fn friendly_name_of(&self, certificate: &X509Certificate) -> Result<String, InvalidInput> {
        let Some(name) = &self.friendly_name else {
            let name = certificate.common_name().unwrap_or("certificate");
            // A name that nobody chose is no reason to refuse.
            return Ok(name.replace(|c| !is_bmp(c), "?"));
        };
        let problem = if name.is_empty() {
            "it is empty; leave it out to use the common name".to_owned()
        } else if let Some(odd) = name.chars().find(|c| !is_bmp(*c)) {
            format!("it has {odd:?}, which PKCS#12 can't hold; leave that out")
        } else {
            return Ok(name.clone());
        };
        Err(InvalidInput::new("friendly name", problem))
    }
}

/// Whether PKCS#12 can hold this character: it has 16 bits for each.
fn is_bmp(character: char) -> bool {
    u32::from(character) <= 0xffff
}

impl Identity {
    /// Returns the certificate, its chain and the key as an encrypted PKCS#12 file in DER.
    ///
    /// # Errors
    /// Returns an error if the password is empty, or if password or friendly name have a character that PKCS#12 can't
    /// hold.
    ///
    /// # Examples
    ///
    /// ```
    /// use shieldcert::{Identity, Pkcs12Options, Pkcs12Profile};
    ///
    /// # let pem = ["tests/data/openssl-p256.cert.pem", "tests/data/openssl-p256.key.pem"]
    /// #     .map(|file| std::fs::read_to_string(file).expect("is readable"))
    /// #     .concat();
    /// let identity = Identity::from_pem(&pem)?;
    /// let for_a_phone = Pkcs12Options::new("correct horse").profile(Pkcs12Profile::Legacy);
    /// let der = identity.to_pkcs12(&for_a_phone)?;
    /// let same = Identity::from_pkcs12(&der, "correct horse")?;
    /// assert_eq!(same.certificate(), identity.certificate());
    /// # Ok::<_, shieldcert::Error>(())
    /// ```
    pub fn to_pkcs12(&self, options: &Pkcs12Options) -> Result<Vec<u8>, InvalidInput> {
        let password = options.password.expose_secret();
        if password.is_empty() {
            return Err(InvalidInput::new(
                "PKCS#12 password",
                "it is empty; give one",
            ));
        }
        check_password(password)?;
        let name = options.friendly_name_of(self.certificate())?;
        let (encryption, mac) = match options.profile {
            Pkcs12Profile::Modern => (
                EncryptionAlgorithm::PbeWithHmacSha256AndAes256,
                MacAlgorithm::HmacSha256,
            ),
            Pkcs12Profile::Legacy => (
                EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc,
                MacAlgorithm::HmacSha1,
            ),
        };
        self.to_store(&name)
            .and_then(|store| {
                let writer = store.writer(password).encryption_algorithm(encryption);
                writer.mac_algorithm(mac).write()
            })
            .map_err(|error| invalid(format!("it can't be made ({error})")))
    }

    fn to_store(&self, name: &str) -> p12_keystore::Result<KeyStore> {
        let certificates = std::iter::once(self.certificate()).chain(self.chain());
        let certificates: Vec<Certificate> = certificates
            .map(|certificate| Certificate::from_der(certificate.der()))
            .collect::<p12_keystore::Result<_>>()?;
        // Ties the key to its certificate, and may be any bytes.
        let id = digest(&SHA256, self.certificate().der());
        let key = StoredKey::from_der(self.key().pkcs8())?;
        let chain = PrivateKeyChain::new(id.as_ref(), key, certificates);
        let mut store = KeyStore::new();
        store.add_entry(name, KeyStoreEntry::PrivateKeyChain(chain));
        Ok(store)
    }

    /// Writes [`to_pkcs12`](Self::to_pkcs12) to a file, as [`write_pem`](Self::write_pem) does.
    ///
    /// # Errors
    /// Returns the errors of [`to_pkcs12`](Self::to_pkcs12), and [`Error::Write`](crate::Error::Write) with the cause.
    /// What was in the file before is unchanged.
    pub fn write_pkcs12(&self, path: impl AsRef<Path>, options: &Pkcs12Options) -> Result<()> {
        write_private(path.as_ref(), &self.to_pkcs12(options)?)
    }

    /// Reads the certificate, its chain and the key from a PKCS#12 file in DER, such as openssl, Java and Windows write.
    ///
    /// PBES2 is read with PBKDF2 or scrypt and AES, and the older algorithms with triple DES or RC2 of 40 bits. The
    /// library that decrypts does not wipe its copies of the key.
    ///
    /// # Errors
    /// Returns [`Error::KeyMismatch`](crate::Error::KeyMismatch) if the key belongs to none of the certificates, and
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) if the password is wrong, the file is damaged, or it does not
    /// hold one key and its certificate.
    pub fn from_pkcs12(der: impl AsRef<[u8]>, password: &str) -> Result<Self> {
        let der = der.as_ref();
        if der.len() > MAX_LEN {
            let problem = format!("it has {} bytes; one has less than {MAX_LEN}", der.len());
            return Err(invalid(problem).into());
        }
        check_password(password)?;
        let archive = Pkcs12Archive::from_pkcs12(der, password)
            .map_err(|error| invalid(describe(&error, der)))?;
        let [key] = &archive.keys[..] else {
            let problem = match archive.keys.len() {
                0 => "it holds no private key; export the certificate together with its key".into(),
                keys => format!("it holds {keys} private keys; export one at a time"),
            };
            return Err(invalid(problem).into());
        };
        if archive.certs.is_empty() {
            let problem = "it holds a private key but no certificate; export both";
            return Err(invalid(problem).into());
        }
        let certificates = archive
            .certs
            .iter()
            .map(|bag| X509Certificate::from_der(bag.cert.as_der()))
            .collect::<Result<Vec<_>, _>>()?;
        // Java leaves out the public key of an ECDSA key, which ring needs.
        let key = key.key.as_der();
        let key = PrivateKey::from_pkcs8(key).or_else(|error| {
            certificates
                .iter()
                .find_map(|own| PrivateKey::from_pkcs8_and_public_key(key, own.public_key()))
                .ok_or(error)
        })?;
        Self::find(certificates, key)
    }
}

/// Refuses a password that PKCS#12 can't hold. Which character it is stays secret.
fn check_password(password: &str) -> Result<(), InvalidInput> {
    if password.chars().all(is_bmp) {
        return Ok(());
    }
    Err(InvalidInput::new(
        "PKCS#12 password",
        "it has a character that PKCS#12 can't hold, such as an emoji; give another",
    ))
}

/// Says why a file can't be read.
fn describe(error: &StoreError, file: &[u8]) -> &'static str {
    const CONVERT: &str = "it is encrypted or structured in an unsupported way; make PEM of it with \
         `openssl pkcs12 -in FILE -nodes -out NEW` (and `-legacy` with OpenSSL 3), and read that";
    const INDEFINITE_LENGTH: &[u8] = &[0x30, 0x80];
    match error {
        StoreError::MacError(_) | StoreError::UnpadError => {
            "the password is wrong; give the one that the file was encrypted with"
        }
        // The password of a file without a MAC.
        StoreError::Pkcs5Error(problem) if *problem == pkcs5::Error::DecryptFailed.to_string() => {
            "the password is wrong; give the one that the file was encrypted with"
        }
        StoreError::Pkcs5Error(_)
        | StoreError::UnsupportedContentType
        | StoreError::UnsupportedCertificateType
        | StoreError::UnsupportedEncryptionScheme
        | StoreError::UnsupportedMacAlgorithm
        | StoreError::InvalidParameters => CONVERT,
        StoreError::DerError(error) if matches!(error.kind(), ErrorKind::OidUnknown { .. }) => {
            CONVERT
        }
        _ if file.starts_with(INDEFINITE_LENGTH) => CONVERT,
        _ if file.starts_with(b"-----BEGIN ") => "it is PEM; read it with `Identity::from_pem`",
        _ => "it is damaged or cut off, or no PKCS#12 file",
    }
}

fn invalid(problem: impl Into<String>) -> InvalidInput {
    InvalidInput::new("PKCS#12 file", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "correct horse";

    fn identity() -> Identity {
        let ca = rcgen::generate_simple_self_signed(["ca".into()]).expect("a CA");
        let text = [
            include_str!("../../tests/data/openssl-p256.key.pem"),
            include_str!("../../tests/data/openssl-p256.cert.pem"),
            &ca.cert.pem(),
        ];
        Identity::from_pem(text.concat()).expect("an identity")
    }

    #[test]
    fn what_was_written_is_read() {
        let identity = identity();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sensor-001.p12");
        for profile in [Pkcs12Profile::Modern, Pkcs12Profile::Legacy] {
            let options = Pkcs12Options::new(PASSWORD).profile(profile);
            identity.write_pkcs12(&path, &options).expect("writes");
            let der = std::fs::read(&path).expect("reads");
            let read = Identity::from_pkcs12(der, PASSWORD).expect("an identity");
            assert_eq!(read.to_pem(), identity.to_pem(), "{profile:?}");
            assert_eq!(profile.as_str().parse(), Ok(profile));
        }
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let refusals = [
            Pkcs12Options::new(""),
            Pkcs12Options::new("pass🔑word"),
            Pkcs12Options::new(PASSWORD).friendly_name(""),
            Pkcs12Options::new(PASSWORD).friendly_name("sensor ⚙ 🔑"),
        ]
        .map(|options| {
            let refused = identity().to_pkcs12(&options);
            refused.expect_err("is refused").to_string()
        });
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        PKCS#12 password: it is empty; give one
        PKCS#12 password: it has a character that PKCS#12 can't hold, such as an emoji; give another
        friendly name: it is empty; leave it out to use the common name
        friendly name: it has '🔑', which PKCS#12 can't hold; leave that out
        "#);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let identity = identity();
        let der = identity
            .to_pkcs12(&Pkcs12Options::new(PASSWORD))
            .expect("is written");
        let write = |key: bool, certificate: bool| {
            let mut store = KeyStore::new();
            let stored = Certificate::from_der(identity.certificate().der()).expect("X.509");
            if key {
                let certificates = certificate.then(|| stored.clone());
                let key = StoredKey::from_der(identity.key().pkcs8()).expect("PKCS#8");
                let chain = PrivateKeyChain::new("1", key, certificates);
                store.add_entry("1", KeyStoreEntry::PrivateKeyChain(chain.clone()));
                if certificate {
                    store.add_entry("2", KeyStoreEntry::PrivateKeyChain(chain));
                }
            } else {
                store.add_entry("1", KeyStoreEntry::Certificate(stored));
            }
            store.writer(PASSWORD).write().expect("is written")
        };
        let mut indefinite = der.clone();
        indefinite[1] = 0x80;
        let refusals = [
            (der.clone(), "wrong"),
            (der.clone(), ""),
            (der[..der.len() / 2].to_vec(), PASSWORD),
            (indefinite, PASSWORD),
            (identity.certificate().der().to_vec(), PASSWORD),
            (identity.to_pem().as_bytes().to_vec(), PASSWORD),
            (Vec::new(), PASSWORD),
            (vec![0; MAX_LEN + 1], PASSWORD),
            (write(false, true), PASSWORD),
            (write(true, false), PASSWORD),
            (write(true, true), PASSWORD),
        ]
        .map(|(der, password)| {
            let refused = Identity::from_pkcs12(der, password);
            refused.expect_err("is refused").to_string()
        });
        insta::assert_snapshot!(refusals.join("\n"), @"
        PKCS#12 file: the password is wrong; give the one that the file was encrypted with
        PKCS#12 file: the password is wrong; give the one that the file was encrypted with
        PKCS#12 file: it is damaged or cut off, or no PKCS#12 file
        PKCS#12 file: it is encrypted or structured in an unsupported way; make PEM of it with `openssl pkcs12 -in FILE -nodes -out NEW` (and `-legacy` with OpenSSL 3), and read that
        PKCS#12 file: it is damaged or cut off, or no PKCS#12 file
        PKCS#12 file: it is PEM; read it with `Identity::from_pem`
        PKCS#12 file: it is damaged or cut off, or no PKCS#12 file
        PKCS#12 file: it has 1048577 bytes; one has less than 1048576
        PKCS#12 file: it holds no private key; export the certificate together with its key
        PKCS#12 file: it holds a private key but no certificate; export both
        PKCS#12 file: it holds 2 private keys; export one at a time
        ");
    }

    #[test]
    fn debug_shows_no_password() {
        let shown = format!("{:?}", Pkcs12Options::new(PASSWORD));
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
}
