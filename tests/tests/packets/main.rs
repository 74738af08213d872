//! Packets through the loaded kernel programs: verdict and counters against the model, one packet at a time.

mod agreement;
mod cases;
mod delivered;
mod live;
mod matrix;
mod nftables;
mod size;
mod sources;
