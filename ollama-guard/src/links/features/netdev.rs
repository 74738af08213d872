//! What a driver's XDP can do, by the netlink family `netdev` (kernel 6.3; `Documentation/netlink/specs/netdev.yaml`).

use super::family::NamedFamily;
use crate::netlink::NetlinkError;
use crate::netlink::attributes::push_attribute;

/// `include/uapi/linux/netdev.h`.
static NETDEV: NamedFamily = NamedFamily::new("netdev");
const CMD_DEV_GET: u8 = 1;
const A_DEV_IFINDEX: u16 = 1;
const A_DEV_XDP_FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_RX_SG`: takes frames of several buffers.
const RX_SG: u64 = 1 << 5;

/// Does the driver of this interface take frames of several buffers in XDP? An error where the kernel cannot say: before 6.3.
pub fn takes_fragments(index: u32) -> Result<bool, NetlinkError> {
    let mut features = 0;
    let mut attributes = Vec::new();
    push_attribute(&mut attributes, A_DEV_IFINDEX, &index.to_ne_bytes());
    let what = format!("read the XDP features of interface {index}");
    NETDEV.ask(&what, CMD_DEV_GET, &attributes, |reply| {
        let value = reply.get(A_DEV_XDP_FEATURES).and_then(|value| value.first_chunk());
        features = value.map_or(0, |value| u64::from_ne_bytes(*value));
        Ok(())
    })?;
    Ok(features & RX_SG != 0)
}
