//! Numbers in a map's bytes: unsigned LEB128.

use super::Refused;

/// The most bytes that a number takes.
pub(super) const MAX_NUMBER: usize = 10;

/// Appends a number.
pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The bytes that a number takes.
pub(super) fn number_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// The bytes that have not been read yet.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn byte(&mut self) -> Result<u8, Refused> {
        self.take(1).map(|byte| byte[0])
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Refused> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Refused::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn number(&mut self) -> Result<u64, Refused> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Refused::Malformed("a number is too large"))
    }

    /// The offset that lies so far above `from`.
    pub fn offset(&mut self, from: i64) -> Result<i64, Refused> {
        from.checked_add_unsigned(self.number()?).ok_or(Refused::Malformed("an offset is too large"))
    }

    /// A count of what follows, where each takes at least one byte: a claim of more is refused.
    pub fn count(&mut self) -> Result<usize, Refused> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count > self.0.len() {
            return Err(Refused::Malformed("it ends too early"));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_read_back(shift in 0..64_u32, value: u64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put_number(&mut bytes, value);
            prop_assert_eq!(bytes.len(), number_len(value));
            prop_assert!(bytes.len() <= MAX_NUMBER);
            let mut reader = Reader(&bytes);
            prop_assert_eq!(reader.number(), Ok(value));
            prop_assert!(reader.0.is_empty());
            prop_assert!(Reader(&bytes[1..]).number().is_err() || bytes.len() > 1);
        }
    }

    #[test]
    fn a_number_that_is_too_large_or_cut_is_refused() {
        assert!(Reader(&[0xff; 12]).number().is_err());
        let mut most = [0xff; 10];
        most[9] = 1;
        assert_eq!(Reader(&most).number(), Ok(u64::MAX));
        most[9] = 2;
        assert!(Reader(&most).number().is_err());
        assert!(Reader(&[0x80]).number().is_err());
    }
}
