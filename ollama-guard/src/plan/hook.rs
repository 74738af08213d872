//! Hooks.
/// A hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// x
    XdpNative,
    /// x
    XdpGeneric,
    /// x
    Tcx,
    /// x
    Clsact,
}
impl std::fmt::Display for Hook { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{self:?}") } }
