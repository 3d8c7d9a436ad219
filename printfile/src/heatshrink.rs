//! Unpacks heatshrink, the LZSS of small machines that binary G-code may use. Produces exactly as many bytes as were
//! promised and never one more, so the caller bounds memory and work. Format, from heatshrink's own description: a
//! stream of bits, the highest of each byte first; a 1 is followed by a byte as it is, a 0 by a distance and a length, each
//! written less one. The stream is filled up to a whole byte.

/// Bits of a length: both variants of binary G-code use the same.
const LENGTH_BITS: u32 = 4;

/// Unpacks `packed` to `promised_bytes`; `window_bits` is the width of a distance. `None` when the stream is cut, longer
/// than promised, or points before its beginning.
pub(crate) fn unpack(packed: &[u8], window_bits: u32, promised_bytes: u32) -> Option<Vec<u8>> {
    let promised = usize::try_from(promised_bytes).ok()?;
    let mut bits = Bits { bytes: packed, at: 0 };
    let mut out = Vec::new();
    while out.len() < promised {
        if bits.take(1)? == 1 {
            out.push(u8::try_from(bits.take(8)?).ok()?);
            continue;
        }
        let distance = bits.take(window_bits)? + 1;
        let length = bits.take(LENGTH_BITS)? + 1;
        if length > promised - out.len() {
            return None;
        }
        let from = out.len().checked_sub(distance)?;
        // Byte by byte: a copy may reach into what it writes.
        for at in from..from + length {
            out.push(*out.get(at)?);
        }
    }
    (bits.left() < 8).then_some(out)
}

struct Bits<'a> {
    bytes: &'a [u8],
    /// Position in bits.
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<usize> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | usize::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn left(&self) -> usize {
        self.bytes.len() * 8 - self.at
    }
}

#[cfg(test)]
mod tests {
    use super::unpack;

    #[test]
    fn bytes_as_they_are_and_copies_are_unpacked() {
        // 1 f, 1 o, 1 o, filled up.
        assert_eq!(unpack(&[0xB3, 0x5B, 0xED, 0xE0], 11, 3).as_deref(), Some(&b"foo"[..]));
        // 1 a, 0 distance 1 length 4: 1 01100001 | 0 00000000000 0011 and filled up.
        assert_eq!(
            unpack(&[0b1011_0000, 0b1000_0000, 0b0000_0001, 0b1000_0000], 11, 5).as_deref(),
            Some(&b"aaaaa"[..])
        );
        // The same with a distance of 12 bits.
        assert_eq!(
            unpack(&[0b1011_0000, 0b1000_0000, 0b0000_0000, 0b1100_0000], 12, 5).as_deref(),
            Some(&b"aaaaa"[..])
        );
        assert_eq!(unpack(&[], 12, 0).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn only_exactly_what_was_promised_is_accepted() {
        let foo = [0xB3, 0x5B, 0xED, 0xE0];
        assert_eq!(unpack(&foo, 11, 4), None, "cut");
        assert_eq!(unpack(&foo, 11, 2), None, "a whole byte is left");
        assert_eq!(unpack(&foo[..3], 11, 3), None, "cut");
        assert_eq!(unpack(&[0xB3, 0x5B, 0xED, 0xE0, 0], 11, 3), None, "a byte more");
        assert_eq!(unpack(&[0; 4], 11, 1), None, "points before the beginning");
        let run = [0b1011_0000, 0b1000_0000, 0b0000_0001, 0b1000_0000];
        assert_eq!(unpack(&run, 11, 4), None, "a copy that is longer than the promise");
    }
}
