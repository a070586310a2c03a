//! The hash by which names are found in large directories.
//!
//! Format: kernel documentation, ext4, "Hash Tree Directories"; half MD4 is
//! MD4 (RFC 1320) with eight words of input and eight steps in each round.

/// Its number in superblock and directories.
pub(super) const HALF_MD4: u8 = 1;
/// What the kernel keeps for the end of a directory.
const END_OF_DIRECTORY: u32 = 0xFFFF_FFFE;
/// The words of one turn.
const WORDS: usize = 8;

/// Where a name belongs: by the first number, and by the second where that is
/// the same. The lowest bit of the first is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameHash {
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// Hashes a name, its bytes taken as signed, as on the machines that most
/// file systems are made on; the superblock says so.
pub(super) fn half_md4(name: &[u8], seed: &[u32; 4]) -> NameHash {
    let mut state = *seed;
    let mut rest = name;
    while !rest.is_empty() {
        turn(&mut state, &words(rest));
        rest = rest.get(4 * WORDS..).unwrap_or(&[]);
    }
    let major = match state[1] & !1 {
        END_OF_DIRECTORY => END_OF_DIRECTORY - 2,
        major => major,
    };
    NameHash { major, minor: state[2] }
}

/// The next 32 bytes as words, filled up with the length of all that is left.
fn words(rest: &[u8]) -> [u32; WORDS] {
    let length = u32::from(rest.len().to_le_bytes()[0]);
    let padding = length * 0x0101_0101;
    let mut words = [padding; WORDS];
    for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
        *word = bytes.iter().fold(padding, |word, byte| {
            let signed = i32::from(byte.cast_signed());
            (word << 8).wrapping_add(signed.cast_unsigned())
        });
    }
    words
}

/// The three rounds of MD4, shortened.
fn turn(state: &mut [u32; 4], input: &[u32; WORDS]) {
    /// Order of the input, shifts, and constant of each round.
    const ROUNDS: [([usize; WORDS], [u32; 4], u32); 3] = [
        ([0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19], 0),
        ([1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13], 0x5A82_7999),
        ([3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15], 0x6ED9_EBA1),
    ];
    let mut now = *state;
    for (round, (order, shifts, constant)) in ROUNDS.iter().enumerate() {
        for (step, from) in order.iter().enumerate() {
            let [a, b, c, d] = now;
            let mixed = match round {
                0 => (b & c) | (!b & d),
                1 => (b & c) | (b & d) | (c & d),
                _ => b ^ c ^ d,
            };
            let sum = a.wrapping_add(mixed).wrapping_add(input[*from]).wrapping_add(*constant);
            now = [d, sum.rotate_left(shifts[step % 4]), b, c];
        }
    }
    for (old, new) in state.iter_mut().zip(now) {
        *old = old.wrapping_add(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `debugfs -R "dx_hash -h half_md4 -s SEED NAME"`.
    #[test]
    fn agrees_with_debugfs() {
        let seed = [0x0403_0201, 0x0807_0605, 0x0c0b_0a09, 0x100f_0e0d];
        let table: [(&[u8], u32, u32); 5] = [
            (b"a", 0x8d08_ec4c, 0x2fbc_cd78),
            (b"hello.txt", 0xac15_d19c, 0x0021_f363),
            (b"abcdefghijklmnopqrstuvwxyz0123456789", 0xcd31_34d6, 0xa8f2_2349),
            ("\u{e9}clair".as_bytes(), 0x0e90_2c42, 0xe586_5ac5),
            (&[b'x'; 255], 0xac45_f49a, 0x874d_addc),
        ];
        for (name, major, minor) in table {
            assert_eq!(half_md4(name, &seed), NameHash { major, minor }, "{name:?}");
        }
    }
}
