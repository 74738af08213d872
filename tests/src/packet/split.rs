//! A packet in fragments.

use super::checksum::seal_v4;
use super::{Extension, Fragment, Network, Packet};

impl Packet {
    /// Frames of its fragments, cut behind the IP header at these places (multiples of eight bytes), each with this behind
    /// it. Extension headers are cut too; the packet must not be a fragment already.
    pub fn split(&self, cuts: &[usize], id: u16, trailer: &[u8]) -> Vec<Vec<u8>> {
        let size = self.network.size();
        let inside = self.ip().split_off(size);
        let starts = [&[0], cuts].concat();
        let ends = cuts.iter().copied().chain([inside.len()]);
        let pieces = starts.into_iter().zip(ends).map(|(start, end)| {
            let offset = u16::try_from(start / 8).unwrap_or_default();
            let fragment = Fragment { offset, more: end < inside.len() };
            [self.fragment(fragment, &inside[start..end], id).as_slice(), trailer].concat()
        });
        pieces.collect()
    }

    fn fragment(&self, fragment: Fragment, inside: &[u8], id: u16) -> Vec<u8> {
        let (ip, at) = (self.network_offset(), self.network_offset() + self.network.size());
        let id = id.to_be_bytes();
        if let Network::V4(_) = self.network {
            let mut frame = self.clone().with_v4(|header| header.fragment = fragment).bytes()[..at].to_vec();
            let length = u16::try_from(self.network.size() + inside.len()).unwrap_or(u16::MAX);
            frame[ip + 2..ip + 4].copy_from_slice(&length.to_be_bytes());
            frame[ip + 4..ip + 6].copy_from_slice(&id);
            seal_v4(&mut frame[ip..]);
            return [frame.as_slice(), inside].concat();
        }
        let mut frame = self.bytes()[..at].to_vec();
        let mut header = Extension::Fragment(fragment).bytes(frame[ip + 6]);
        header[6..].copy_from_slice(&id);
        let length = u16::try_from(header.len() + inside.len()).unwrap_or(u16::MAX);
        frame[ip + 4..ip + 6].copy_from_slice(&length.to_be_bytes());
        frame[ip + 6] = Extension::Fragment(fragment).number();
        [frame.as_slice(), &header, inside].concat()
    }
}
