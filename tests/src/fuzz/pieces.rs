//! Packets that the kernel takes, in frames that say more than it reads: whole or in fragments, behind options, with
//! trailers that look like more headers and a port of their own.

use super::generate::Random;
use crate::packet::{Extension, Packet};

/// Frames of `packet`. The trailers name `decoy`.
pub fn pieces(random: &mut Random, packet: Packet, id: u16, decoy: u16) -> Vec<Vec<u8>> {
    let packet = if packet.network.size() == 40 {
        packet.behind(&vec![Extension::Destination(0); random.below(4)])
    } else {
        let options = u8::try_from(random.below(4)).unwrap_or_default();
        packet.with_v4(|header| header.options = options)
    };
    let trailer = trailer(random, decoy);
    if random.one_in(3) {
        return vec![packet.trailed_by(&trailer).bytes()];
    }
    let eights = (packet.ip().len() - packet.network.size() - 1) / 8;
    let mut cuts = vec![8 * (1 + random.below(eights))];
    if random.one_in(2) {
        cuts.extend((cuts[0] / 8 + 1..=eights).take(1).map(|eight| 8 * eight));
    }
    let mut frames = packet.split(&cuts, id, &trailer);
    if random.one_in(3) {
        frames.reverse();
    }
    frames
}

/// Zeroes, or as many headers of options as may fit what is cut off, and ports.
fn trailer(random: &mut Random, decoy: u16) -> Vec<u8> {
    if random.one_in(4) {
        return vec![0; random.below(40)];
    }
    let [high, low] = decoy.to_be_bytes();
    let options = [60, 0, 1, 4, 0, 0, 0, 0].repeat(random.below(3));
    let last = [random.pick(&[6, 17]), 0, 1, 4, 0, 0, 0, 0];
    let ports = [0x9c, 0x40, high, low, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff];
    [options.as_slice(), &last, &ports].concat()[8 * random.below(2)..].to_vec()
}
