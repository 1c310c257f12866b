//! SHA-256, by which a module is known: pinned in the manifest, looked up in the cache,
//! named in dead letters, logs and metrics. People write and read it in hexadecimal.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// The digest of these bytes.
pub fn of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The digest of all that can be read, a piece at a time.
///
/// # Errors
/// It cannot be read.
pub fn of_reader(mut reader: impl Read) -> io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(digest.finalize().into()),
            read => digest.update(&piece[..read]),
        }
    }
}

/// Bytes in lower-case hexadecimal, as `sha256sum` writes a digest.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// The digest that stands in this text, in digits of either case; `None`: it is none.
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `abc`, from FIPS 180-2.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_digest_is_written_and_read_as_sha256sum_does() {
        assert_eq!(hex(&of(b"abc")), ABC);
        assert_eq!(from_hex(ABC), Some(of(b"abc")));
        assert_eq!(from_hex(&ABC.to_uppercase()), Some(of(b"abc")));
        for text in ["", &ABC[1..], &ABC[2..], &format!("{ABC}00"), &ABC.replace('b', "g"), &ABC.replace("ba", "+a")] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn a_reader_has_the_digest_of_its_bytes() {
        let bytes: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        // In pieces of two lengths.
        assert_eq!(of_reader(bytes[..100].chain(&bytes[100..])).unwrap(), of(&bytes));
        assert_eq!(of_reader(io::empty()).unwrap(), of(b""));
    }
}
