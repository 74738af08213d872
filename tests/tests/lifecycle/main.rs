//! Promises 3, 4 and 6: what stands stays while interfaces come and go, the daemon dies, the policy changes and others
//! do as they like; `status` says how things are meanwhile; and `down` leaves nothing.

mod alone;
mod crowd;
mod daemon;
mod down;
mod foreign;
mod interfaces;
mod lockout;
mod pins;
mod reload;
mod seats;
mod sockets;

/// The default service's port.
const PORT: u16 = 11434;
