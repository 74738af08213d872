//! Ports that lead to a guarded one through a proxy: each kind is found, the real one; closed where it listens and nowhere
//! else; and nobody else's is, whatever anybody says.

mod addresses;
mod beliefs;
mod ipvs;
mod limits;
mod proxies;
