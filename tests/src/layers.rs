//! The arrangements of layers in which a suite tries the same attack: each must hold alone.

/// Which layers guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layers {
    /// Native XDP alone.
    Xdp,
    /// Generic XDP alone.
    XdpGeneric,
    /// Traffic control alone.
    Tc,
    /// nftables alone.
    Seatbelt,
    /// Both layers, as the default configuration has them.
    Both,
}

impl Layers {
    /// A configuration for these layers; `rest` may begin with keys of the top level.
    pub fn policy(self, rest: &str) -> String {
        let (wall, seatbelt, attach) = match self {
            Self::Xdp => (true, false, "xdp"),
            Self::XdpGeneric => (true, false, "xdp-generic"),
            Self::Tc => (true, false, "tc"),
            Self::Seatbelt => (false, true, "auto"),
            Self::Both => (true, true, "auto"),
        };
        format!("wall = {wall}\nseatbelt = {seatbelt}\nattach = \"{attach}\"\n{rest}")
    }

    /// Whether the eBPF layer is there, which counts per interface and source.
    pub fn counts(self) -> bool {
        self != Self::Seatbelt
    }

    /// The `hook` that `status --json` shows for a guarded Ethernet interface.
    pub fn hook(self) -> &'static str {
        match self {
            Self::Xdp => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::Tc | Self::Both => "tcx",
            Self::Seatbelt => "none",
        }
    }
}

/// Makes of each function that takes [`Layers`] one test for each layer alone and one for both, named
/// `arrangement::function`.
#[macro_export]
macro_rules! for_each_arrangement {
    ($($test:ident),+ $(,)?) => {
        $crate::arrangement!(xdp, Xdp, $($test),+);
        $crate::arrangement!(tc, Tc, $($test),+);
        $crate::arrangement!(seatbelt, Seatbelt, $($test),+);
        $crate::arrangement!(both, Both, $($test),+);
    };
}

/// One arrangement of [`for_each_arrangement!`].
#[macro_export]
macro_rules! arrangement {
    ($module:ident, $layers:ident, $($test:ident),+) => {
        mod $module {
            $(#[test]
            fn $test() -> anyhow::Result<()> {
                super::$test($crate::layers::Layers::$layers)
            })+
        }
    };
}
