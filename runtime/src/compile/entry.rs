//! One entry of the cache: a head, then the artefact.
//!
//! | Bytes | |
//! |---|---|
//! | 8 | `OUTRGCM1` |
//! | 32 | SHA-256 of the module |
//! | 32 | the engine's fingerprint |
//! | 8 | length of the artefact, little endian |
//! | 32 | SHA-256 of the artefact |
//! | the rest | the artefact: what wasmtime compiled |
//!
//! Every bit is looked at: those of the head by comparison, those of the artefact by its
//! digest. wasmtime's own check reads the artefact's header and trusts the code behind it.

use std::io::{self, Read};

use super::key::Key;
use crate::digest;

const MAGIC: &[u8; 8] = b"OUTRGCM1";

/// The length of the head in bytes.
pub const HEAD: usize = 8 + 32 + 32 + 8 + 32;

/// The largest artefact that is read or written, in bytes. The largest guests (Python,
/// 18 MB) have some 50 MB; this keeps a damaged length from taking all memory.
pub const LARGEST: u64 = 1 << 30;

/// Why an entry is not used. It is built anew then.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// Something else lies under its name, such as a symbolic link or a folder.
    #[error("it is not a regular file")]
    NotAFile,
    /// Others can write it, or it is theirs.
    #[error("{0}")]
    Rights(String),
    /// It does not begin as an entry does.
    #[error("it is not a compiled module of Outrigger")]
    Foreign,
    /// It is an entry of another module, renamed or copied.
    #[error("it belongs to another module")]
    OtherModule,
    /// It is an entry of another version, configuration or processor.
    #[error("it was compiled by another version or for another processor")]
    OtherEngine,
    /// It is shorter or longer than its head says.
    #[error("it is {found} bytes long and not {expected}")]
    Length {
        /// By its head.
        expected: u64,
        /// In the file.
        found: u64,
    },
    /// The artefact is not the one that was written.
    #[error("its content does not have the digest that it was written with")]
    Content,
    /// It passes all checks, and wasmtime refuses it all the same.
    #[error("wasmtime refuses it: {0}")]
    Refused(String),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// The head of an entry with this artefact.
pub fn head(key: &Key, artefact: &[u8]) -> Vec<u8> {
    let length = (artefact.len() as u64).to_le_bytes();
    let digest = digest::of(artefact);
    [&MAGIC[..], &key.module, &key.engine, &length, &digest].concat()
}

/// Reads an entry of `length` bytes from its beginning, and gives its artefact: the very
/// bytes whose digest was compared.
///
/// # Errors
/// See [`Damage`].
pub fn read(mut file: impl Read, length: u64, key: &Key) -> Result<Vec<u8>, Damage> {
    let too_short = || Damage::Length { expected: HEAD as u64, found: length };
    let mut head = [0; HEAD];
    file.read_exact(&mut head).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => too_short(),
        _ => Damage::Read(error),
    })?;
    let (magic, rest) = head.split_at(8);
    let (module, rest) = rest.split_at(32);
    let (engine, rest) = rest.split_at(32);
    let (size, digest) = rest.split_at(8);
    if magic != MAGIC {
        return Err(Damage::Foreign);
    }
    if module != key.module {
        return Err(Damage::OtherModule);
    }
    if engine != key.engine {
        return Err(Damage::OtherEngine);
    }
    let size = u64::from_le_bytes(size.try_into().map_err(|_| too_short())?);
    let expected = size.saturating_add(HEAD as u64);
    if expected != length || size > LARGEST {
        return Err(Damage::Length { expected, found: length });
    }
    let mut artefact = Vec::with_capacity(size as usize);
    // One more than there should be: a file that grew meanwhile is seen.
    let found = file.take(size + 1).read_to_end(&mut artefact)? as u64;
    if found != size {
        return Err(Damage::Length { expected, found: found + HEAD as u64 });
    }
    if digest::of(&artefact)[..] != *digest {
        return Err(Damage::Content);
    }
    Ok(artefact)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = Key { module: [1; 32], engine: [2; 32] };

    fn entry(artefact: &[u8]) -> Vec<u8> {
        [&head(&KEY, artefact), artefact].concat()
    }

    fn read_back(entry: &[u8]) -> Result<Vec<u8>, Damage> {
        read(entry, entry.len() as u64, &KEY)
    }

    #[test]
    fn what_was_written_is_read_back() {
        for artefact in [&b""[..], b"code", &[9; 100_000]] {
            assert_eq!(read_back(&entry(artefact)).unwrap(), artefact);
        }
    }

    #[test]
    fn every_single_bit_counts() {
        let good = entry(b"machine code");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read_back(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_length_but_its_own_is_refused() {
        let good = entry(b"machine code");
        for length in 0..good.len() {
            assert!(matches!(read_back(&good[..length]), Err(Damage::Length { .. })), "{length}");
        }
        assert!(matches!(read_back(&[&good[..], b"x"].concat()), Err(Damage::Length { .. })));
        // One that shrinks or grows between the look at its length and the reading.
        assert!(matches!(read(&good[..good.len() - 1], good.len() as u64, &KEY), Err(Damage::Length { .. })));
        assert!(matches!(read(&[&good[..], b"x"].concat()[..], good.len() as u64, &KEY), Err(Damage::Length { .. })));
    }

    #[test]
    fn each_damage_is_named() {
        let good = entry(b"machine code");
        let other = |key: Key| read(&good[..], good.len() as u64, &key);
        assert!(matches!(other(Key { module: [3; 32], ..KEY }), Err(Damage::OtherModule)));
        assert!(matches!(other(Key { engine: [3; 32], ..KEY }), Err(Damage::OtherEngine)));
        let with = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] ^= byte;
            read_back(&bad)
        };
        assert!(matches!(with(0, 1), Err(Damage::Foreign)));
        assert!(matches!(with(8 + 32 + 32 + 7, 0x80), Err(Damage::Length { .. })), "not an allocation of 2^63 bytes");
        assert!(matches!(with(HEAD - 1, 1), Err(Damage::Content)));
        assert!(matches!(with(HEAD, 1), Err(Damage::Content)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(read_back(&bytes).is_err());
        }
    }
}
