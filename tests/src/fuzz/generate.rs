//! Frames at some million a second, most of them nearly right: for runs so long that no coverage is needed.

use std::net::IpAddr;

/// A fast random source (xorshift64*, Vigna 2016); any seed but 0.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One of `0..limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(((self.next() >> 32) * limit as u64) >> 32).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[7]
    }

    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// What a frame's addresses are drawn from: by default documentation addresses (RFC 5737, RFC 3849).
#[derive(Debug, Clone)]
pub struct Addresses {
    v4: Vec<[u8; 4]>,
    v6: Vec<[u8; 16]>,
}

impl Addresses {
    /// These; what is no address is left out.
    pub fn of(addresses: &[&str]) -> Self {
        let parsed = || addresses.iter().filter_map(|address| address.parse().ok());
        Self {
            v4: parsed()
                .filter_map(|ip: IpAddr| if let IpAddr::V4(ip) = ip { Some(ip.octets()) } else { None })
                .collect(),
            v6: parsed()
                .filter_map(|ip: IpAddr| if let IpAddr::V6(ip) = ip { Some(ip.octets()) } else { None })
                .collect(),
        }
    }
}

impl Default for Addresses {
    fn default() -> Self {
        Self::of(&["203.0.113.9", "192.0.2.1", "2001:db8::9", "2001:db8::1"])
    }
}

const NUMBERS: [u8; 12] = [6, 17, 0, 43, 44, 51, 60, 4, 41, 50, 58, 59];

const PORTS: [u16; 5] = [11434, 22, 11435, 5004, 0];

/// Fills `frame` with a frame: tags, an IP header with options or a chain of extension headers, fragments, ports, and
/// in one of three something done to its bytes or its end. The buffer is used again, so that nothing is allocated.
pub fn frame(random: &mut Random, addresses: &Addresses, frame: &mut Vec<u8>) {
    frame.clear();
    frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    if random.one_in(6) {
        for _ in 0..=random.below(6) {
            let vlan = if random.one_in(12) { random.byte() } else { 0 };
            let kind = random.pick(&[[0x81, 0x00], [0x88, 0xa8]]);
            frame.extend([kind[0], kind[1], random.byte() & 0xe0, vlan]);
        }
    }
    let start = frame.len() + 2;
    if random.one_in(2) {
        v4(random, &addresses.v4, frame);
    } else {
        v6(random, &addresses.v6, frame);
    }
    length_field(random, frame, start);
    trailer(random, frame);
    match random.below(9) {
        0 => frame.truncate(random.below(frame.len() + 1)),
        1 => change(random, frame, 12, 1),
        2 => change(random, frame, start, 3),
        _ => {}
    }
}

/// Changes some bytes from `from` on.
fn change(random: &mut Random, frame: &mut [u8], from: usize, count: usize) {
    for _ in 0..=random.below(count) {
        let at = from + random.below(frame.len() - from);
        frame[at] = if random.one_in(2) { random.byte() } else { random.pick(&NUMBERS) };
    }
}

fn v4(random: &mut Random, addresses: &[[u8; 4]], frame: &mut Vec<u8>) {
    let words = if random.one_in(3) { random.below(11) } else { 0 };
    let header = u8::try_from(0x45 + words).unwrap_or(0x45);
    let fragment = random.pick(&[[0x40, 0], [0, 0], [0x20, 0], [0, 1], [0x20, 3], [0x1f, 0xff]]);
    let number = if random.one_in(5) { random.pick(&NUMBERS) } else { random.pick(&[6, 17]) };
    frame.extend([0x08, 0x00, header, 0, 0, 0, 0x12, 0x34, fragment[0], fragment[1], 64, number, 0, 0]);
    frame.extend(random.pick(addresses));
    frame.extend(random.pick(addresses));
    frame.resize(frame.len() + 4 * words, 1);
    chain(random, frame, number);
}

fn v6(random: &mut Random, addresses: &[[u8; 16]], frame: &mut Vec<u8>) {
    let number = if random.one_in(2) { random.pick(&NUMBERS) } else { random.pick(&[6, 17]) };
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, number, 64]);
    frame.extend(random.pick(addresses));
    frame.extend(random.pick(addresses));
    chain(random, frame, number);
}

/// Extension headers as their numbers want them, then a transport header.
fn chain(random: &mut Random, frame: &mut Vec<u8>, mut number: u8) {
    for _ in 0..12 {
        if !matches!(number, 0 | 43 | 44 | 51 | 60) {
            break;
        }
        let next = if random.one_in(2) { random.pick(&[6, 17]) } else { random.pick(&NUMBERS) };
        let units = if random.one_in(20) { random.byte() } else { random.byte() & 3 };
        let at = frame.len();
        let size = match number {
            44 => 8,
            51 => (usize::from(units) + 2) * 4,
            _ => (usize::from(units) + 1) * 8,
        };
        let fragment = random.pick(&[[0, 0], [0, 0], [0, 1], [0, 8], [0x10, 9]]);
        let kind = random.pick(&[0, 2, 3, 4]);
        frame.resize(at + size, 0);
        frame[at] = next;
        frame[at + 1] = units;
        match number {
            44 => frame[at + 2..at + 4].copy_from_slice(&fragment),
            43 => frame[at + 2] = kind,
            _ => {}
        }
        number = next;
    }
    match number {
        4 if !random.one_in(4) => {
            let options = random.pick(&[0x45, 0x45, 0x45, 0x46, 0x35, 0x44]);
            let number = random.pick(&[6, 17, 6, 17, 51, 1]);
            frame.extend([options, 0, 0, 40, 0, 0, 0, 0, 64, number, 0, 0, 192, 0, 2, 9, 192, 0, 2, 1]);
        }
        41 if !random.one_in(4) => {
            let version = random.pick(&[0x60, 0x60, 0x60, 0x70]);
            frame.extend([version, 0, 0, 0, 0, 20, random.pick(&NUMBERS), 64]);
            frame.resize(frame.len() + 32, 0x20);
        }
        _ => {}
    }
    let port = random.pick(&PORTS).to_be_bytes();
    let source = random.next().to_le_bytes();
    frame.extend([source[0], source[1], port[0], port[1], 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
}

/// The right length, mostly.
fn length_field(random: &mut Random, frame: &mut [u8], start: usize) {
    let (at, header) = if frame[start] >> 4 == 4 { (start + 2, 0) } else { (start + 4, 40) };
    let length = u16::try_from(frame.len() - start - header).unwrap_or(u16::MAX).to_be_bytes();
    let length = if random.one_in(15) { [0, random.byte()] } else { length };
    frame[at..at + 2].copy_from_slice(&length);
}

/// Mostly nothing; or what looks like another extension header and ports.
fn trailer(random: &mut Random, frame: &mut Vec<u8>) {
    if random.one_in(6) {
        let (next, port) = (random.pick(&[6, 17, 60, 44]), random.pick(&PORTS).to_be_bytes());
        frame.extend([next, 0, 1, 4, 0, 0, 0, 0, 0x9c, 0x40, port[0], port[1], 0, 0, 0, 1, 0, 0, 0, 0]);
    }
}
