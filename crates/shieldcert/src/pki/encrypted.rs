//! Private keys that are encrypted with a password: PKCS#8 (RFC 5958) with PBES2 (RFC 8018).

use std::num::NonZeroU32;

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Tag, Tagged};
use pkcs5::AlgorithmIdentifierRef;
use pkcs5::pbes2::{self, Kdf, Parameters, Pbkdf2Params, Pbkdf2Prf};
use ring::pbkdf2;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::der::{self as own_der, OCTET_STRING, SEQUENCE};
use crate::error::input::InvalidInput;

const PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");
const TRIPLE_DES_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.3.7");

/// How often PBKDF2 hashes the passwords of keys that this crate encrypts: what OWASP recommends for SHA-256.
const ITERATIONS: u32 = 600_000;
/// What a key may ask for before it counts as an attack on the processor or the memory.
const MAX_ITERATIONS: u32 = 10_000_000;
const MAX_SCRYPT_BYTES: u64 = 256 << 20;
const MAX_SCRYPT_PARALLELIZATION: u16 = 16;

/// Decrypts an EncryptedPrivateKeyInfo in DER and returns the key in PKCS#8.
pub(super) fn decrypt(der: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, InvalidInput> {
    let parsed = AnyRef::from_der(der).and_then(|outer| {
        outer.sequence(|reader| {
            let algorithm = AlgorithmIdentifierRef::decode(reader)?;
            let encrypted = <&OctetStringRef>::decode(reader)?;
            der::Result::Ok((algorithm, encrypted.as_bytes()))
        })
    });
    let (algorithm, encrypted) = parsed.map_err(|error| invalid(own_der::describe(error)))?;
    let (kdf, cipher) = parse_pbes2(algorithm).ok_or_else(unsupported)?;
    if !is_affordable(&kdf) {
        return Err(invalid(
            "its encryption asks for more work than any tool's; convert it with \
             `openssl pkey -in KEY -out NEW -aes256`",
        ));
    }
    let key = match (cipher.oid, &kdf) {
        (TRIPLE_DES_CBC, Kdf::Pbkdf2(parameters)) => {
            let key = decrypt_triple_des(parameters, cipher, password, encrypted);
            key.ok_or_else(unsupported)?
        }
        _ => {
            let encryption =
                pbes2::EncryptionScheme::try_from(cipher).map_err(|_| unsupported())?;
            let parameters = Parameters { kdf, encryption };
            match parameters.decrypt(password, encrypted) {
                Ok(key) => Some(key),
                Err(pkcs5::Error::DecryptFailed) => None,
                Err(_) => return Err(unsupported()),
            }
        }
    };
    // With one wrong password in 256, nonsense has a valid padding.
    key.map(Zeroizing::new)
        .filter(|key| AnyRef::from_der(key).is_ok_and(|key| key.tag() == Tag::Sequence))
        .ok_or_else(|| {
            invalid("the password is wrong; give the one that the key was encrypted with")
        })
}

/// Returns the key derivation and the cipher. `None` if they are not known.
fn parse_pbes2(algorithm: AlgorithmIdentifierRef<'_>) -> Option<(Kdf, AlgorithmIdentifierRef<'_>)> {
    if algorithm.oid != PBES2 {
        return None;
    }
    let parsed = algorithm.parameters?.sequence(|reader| {
        let kdf = AlgorithmIdentifierRef::decode(reader)?;
        let cipher = AlgorithmIdentifierRef::decode(reader)?;
        der::Result::Ok((Kdf::try_from(kdf)?, cipher))
    });
    parsed.ok()
}

fn is_affordable(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Pbkdf2(parameters) => parameters.iteration_count <= MAX_ITERATIONS,
        Kdf::Scrypt(parameters) => {
            let block = 128 * u64::from(parameters.block_size);
            let bytes = parameters.cost_parameter.checked_mul(block);
            bytes.is_some_and(|bytes| bytes <= MAX_SCRYPT_BYTES)
                && parameters.parallelization <= MAX_SCRYPT_PARALLELIZATION
        }
        _ => false,
    }
}

/// Decrypts what older versions of OpenSSL encrypt. The outer `None` is an unknown parameter, the inner one a wrong
/// password.
///
/// pkcs5 can do it too, but with that feature it panics on an initialization vector that is too short.
fn decrypt_triple_des(
    parameters: &Pbkdf2Params,
    cipher: AlgorithmIdentifierRef<'_>,
    password: &[u8],
    encrypted: &[u8],
) -> Option<Option<Vec<u8>>> {
    const KEY_LEN: usize = 24;
    let hash = match parameters.prf {
        Pbkdf2Prf::HmacWithSha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        Pbkdf2Prf::HmacWithSha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Pbkdf2Prf::HmacWithSha384 => pbkdf2::PBKDF2_HMAC_SHA384,
        Pbkdf2Prf::HmacWithSha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        _ => return None,
    };
    if parameters
        .key_length
        .is_some_and(|length| usize::from(length) != KEY_LEN)
    {
        return None;
    }
    let iterations = NonZeroU32::new(parameters.iteration_count)?;
    let salt = parameters.salt.as_bytes();
    let mut key = Zeroizing::new([0; KEY_LEN]);
    pbkdf2::derive(hash, iterations, salt, password, key.as_mut());
    let vector: &OctetStringRef = cipher.parameters?.decode_as().ok()?;
    let decryptor =
        cbc::Decryptor::<des::TdesEde3>::new_from_slices(key.as_slice(), vector.as_bytes());
    Some(decryptor.ok()?.decrypt_padded_vec::<Pkcs7>(encrypted).ok())
}

/// Encrypts a key in PKCS#8 and returns an EncryptedPrivateKeyInfo in DER.
///
/// PBKDF2 with SHA-256 and AES-256 are what every tool of today reads. Few read scrypt.
pub(super) fn encrypt(key: &[u8], password: &[u8]) -> Result<Vec<u8>, InvalidInput> {
    if password.is_empty() {
        return Err(invalid("the password is empty; give one"));
    }
    let (mut salt, mut vector) = ([0; 16], [0; 16]);
    let random = SystemRandom::new();
    let filled = random
        .fill(&mut salt)
        .and_then(|()| random.fill(&mut vector));
    filled.map_err(|_| invalid("it can't be encrypted: the system has no randomness"))?;

    let failed = |error| invalid(format!("it can't be encrypted ({error})"));
    let parameters =
        Parameters::generate_pbkdf2_sha256_aes256cbc(ITERATIONS, &salt, vector).map_err(failed)?;
    let encrypted = parameters.encrypt(password, key).map_err(failed)?;
    encode(parameters, &encrypted)
        .map_err(|error| invalid(format!("it can't be encrypted ({error})")))
}

/// Encodes an EncryptedPrivateKeyInfo.
fn encode(parameters: Parameters, encrypted: &[u8]) -> der::Result<Vec<u8>> {
    let scheme = pkcs5::EncryptionScheme::from(parameters);
    let mut buffer = [0; 256];
    let algorithm = scheme.encode_to_slice(&mut buffer)?;
    let encrypted = own_der::frame(OCTET_STRING, &[encrypted]);
    Ok(own_der::frame(SEQUENCE, &[algorithm, &encrypted]).to_vec())
}

fn unsupported() -> InvalidInput {
    invalid(
        "it is encrypted in an unsupported way; convert it with `openssl pkey -in KEY -out NEW -aes256`",
    )
}

fn invalid(problem: impl Into<String>) -> InvalidInput {
    InvalidInput::new("private key", problem)
}

#[cfg(test)]
mod tests {
    use pkcs5::scrypt;

    use super::*;

    #[test]
    fn a_key_that_asks_for_endless_work_is_refused_before_it_is_done() {
        let vector = [0; 16];
        let scrypt = |log_n, r, p| {
            let parameters = scrypt::Params::new(log_n, r, p).expect("are valid");
            Parameters::generate_scrypt_aes256cbc(parameters, b"salt", vector)
        };
        for parameters in [
            Parameters::generate_pbkdf2_sha256_aes256cbc(MAX_ITERATIONS + 1, b"salt", vector),
            scrypt(19, 8, 1),
            scrypt(4, 8, 17),
        ] {
            let der = encode(parameters.expect("are valid"), &[0; 16]).expect("is encoded");
            let message = decrypt(&der, b"secret")
                .expect_err("is refused")
                .to_string();
            assert!(message.contains("more work than any tool's"), "{message}");
        }
    }
}
