//! The Internet checksum (RFC 1071), so that the kernel takes what a suite sends.

use super::Network;

/// The checksum over these bytes; a missing last byte counts as zero.
fn over<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u16 {
    let pairs = parts.into_iter().flat_map(|part| part.chunks(2));
    let words = pairs.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Writes the checksum into an IPv4 header that begins here. What is too short or claims too much stays as it is.
pub fn seal_v4(header: &mut [u8]) {
    let length = header.first().map_or(0, |first| usize::from(first & 0xf) * 4);
    if length >= 20 && length <= header.len() {
        header[10..12].fill(0);
        let sum = over([&header[..length]]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Writes the checksum into a TCP or UDP header with its payload, by the number in front of it.
pub(super) fn seal_transport(network: &Network, number: u8, bytes: &mut [u8]) {
    let at = match number {
        6 => 16,
        17 => 6,
        _ => return,
    };
    let length = u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
    let protocol = [0, number];
    let sum = match network {
        Network::V4(ip) => over([&ip.source.octets()[..], &ip.destination.octets(), &protocol, &length, bytes]),
        Network::V6(ip) => over([&ip.source.octets()[..], &ip.destination.octets(), &length, &protocol, bytes]),
    };
    // Zero means "none" in UDP (RFC 768), and is never right in IPv6.
    let sum = if number == 17 && sum == 0 { 0xffff } else { sum };
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;

    #[test]
    fn what_is_sealed_sums_up_to_zero() {
        for packet in [Packet::v4(11434), Packet::v4(11434).with_v4(|header| header.options = 3), Packet::v4(53).udp()]
        {
            let ip = packet.ip();
            assert_eq!(over([&ip[..packet.network.size()]]), 0);
            let length = u32::try_from(ip.len() - packet.network.size()).unwrap().to_be_bytes();
            let sum = over([&ip[12..20], &[0, ip[9]], &length, &ip[packet.network.size()..]]);
            assert_eq!(sum, 0, "{packet:?}");
        }
    }
}
