//! Packs as heatshrink does, the simplest way: the longest copy within the window, else the byte as it is. Written from
//! the format's description.

/// Bits of a length.
const LENGTH_BITS: u32 = 4;

/// Packs with distances of `window_bits` bits.
pub fn heatshrink(data: &[u8], window_bits: u32) -> Vec<u8> {
    let (most_back, most_long) = (1_usize << window_bits, 1_usize << LENGTH_BITS);
    let mut bits = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let longest = (1..=most_back.min(at))
            .map(|back| {
                let same = |step: &usize| at + step < data.len() && data[at + step] == data[at + step - back];
                ((0..most_long).take_while(same).count(), back)
            })
            .max();
        match longest {
            Some((long, back)) if long > 2 => {
                bits.push(false);
                number(&mut bits, back - 1, window_bits);
                number(&mut bits, long - 1, LENGTH_BITS);
                at += long;
            }
            _ => {
                bits.push(true);
                number(&mut bits, usize::from(data[at]), 8);
                at += 1;
            }
        }
    }
    bits.chunks(8).map(|byte| (0..8).fold(0, |sum, at| sum << 1 | u8::from(byte.get(at) == Some(&true)))).collect()
}

fn number(bits: &mut Vec<bool>, value: usize, count: u32) {
    bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
}
