//! Why a packet passed or was dropped: one enumeration gives the counter slot, the metric label and the status row.

/// Why a port that may be guarded cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// A first fragment that ends before its ports (RFC 7112 forbids it for IPv6, RFC 1858 warns of it for IPv4).
    Fragment,
    /// More VLAN tags or extension headers than the bound, or a transport header further out than the bound.
    Extension,
    /// The packet ends inside a header.
    Truncated,
}

/// Why a counted packet met its verdict. The metric label is [`Reason::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The interface is trusted.
    Trusted,
    /// An `[[allow]]` names the source.
    Allowed,
    /// `container_access = "allow"`.
    Container,
    /// Not for this host.
    Forwarded,
    /// Of a connection that began on this side, from the guarded port.
    Reply,
    /// To a guarded port, from a source that nothing allows.
    Untrusted,
    /// [`Ambiguity::Fragment`].
    Fragment,
    /// [`Ambiguity::Extension`].
    Extension,
    /// [`Ambiguity::Truncated`].
    Truncated,
}

impl Reason {
    /// Metric label and JSON key; stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Allowed => "allowed",
            Self::Container => "container",
            Self::Forwarded => "forwarded",
            Self::Reply => "reply",
            Self::Untrusted => "untrusted",
            Self::Fragment => "fragment",
            Self::Extension => "extension",
            Self::Truncated => "truncated",
        }
    }

    /// The reason's meaning in a few words, for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Trusted => "arrived on a trusted interface",
            Self::Allowed => "from an allowed source",
            Self::Container => "from a container that may reach this host",
            Self::Forwarded => "on its way to another machine",
            Self::Reply => "of a connection that this side opened from the port",
            Self::Untrusted => "to a guarded port on an untrusted interface",
            Self::Fragment => "a first fragment that hides its ports",
            Self::Extension => "more headers in front of the port than anyone needs",
            Self::Truncated => "ends before its port",
        }
    }
}

impl From<Ambiguity> for Reason {
    #[inline(always)]
    fn from(ambiguity: Ambiguity) -> Self {
        match ambiguity {
            Ambiguity::Fragment => Self::Fragment,
            Ambiguity::Extension => Self::Extension,
            Ambiguity::Truncated => Self::Truncated,
        }
    }
}

/// A verdict with its reason: the slot a packet is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Passed: [`Reason::Trusted`].
    PassedTrusted = 0,
    /// Passed: [`Reason::Allowed`].
    PassedAllowed = 1,
    /// Passed: [`Reason::Container`].
    PassedContainer = 2,
    /// Passed: [`Reason::Forwarded`].
    PassedForwarded = 3,
    /// Passed: [`Reason::Reply`].
    PassedReply = 4,
    /// Dropped: [`Reason::Untrusted`].
    DroppedUntrusted = 5,
    /// Dropped: [`Reason::Fragment`].
    DroppedFragment = 6,
    /// Dropped: [`Reason::Extension`].
    DroppedExtension = 7,
    /// Dropped: [`Reason::Truncated`].
    DroppedTruncated = 8,
    /// Passed because `mode = "observe"`, else dropped: [`Reason::Untrusted`].
    WouldDropUntrusted = 9,
    /// Passed because `mode = "observe"`, else dropped: [`Reason::Fragment`].
    WouldDropFragment = 10,
    /// Passed because `mode = "observe"`, else dropped: [`Reason::Extension`].
    WouldDropExtension = 11,
    /// Passed because `mode = "observe"`, else dropped: [`Reason::Truncated`].
    WouldDropTruncated = 12,
}

impl Outcome {
    /// Number of outcomes.
    pub const COUNT: usize = 13;

    /// Every outcome, in slot order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::PassedTrusted,
        Self::PassedAllowed,
        Self::PassedContainer,
        Self::PassedForwarded,
        Self::PassedReply,
        Self::DroppedUntrusted,
        Self::DroppedFragment,
        Self::DroppedExtension,
        Self::DroppedTruncated,
        Self::WouldDropUntrusted,
        Self::WouldDropFragment,
        Self::WouldDropExtension,
        Self::WouldDropTruncated,
    ];

    /// The outcome of a packet the policy says to drop.
    #[inline(always)]
    pub const fn refused(reason: Refusal, observe: bool) -> Self {
        match (reason, observe) {
            (Refusal::Untrusted, false) => Self::DroppedUntrusted,
            (Refusal::Ambiguous(Ambiguity::Fragment), false) => Self::DroppedFragment,
            (Refusal::Ambiguous(Ambiguity::Extension), false) => Self::DroppedExtension,
            (Refusal::Ambiguous(Ambiguity::Truncated), false) => Self::DroppedTruncated,
            (Refusal::Untrusted, true) => Self::WouldDropUntrusted,
            (Refusal::Ambiguous(Ambiguity::Fragment), true) => Self::WouldDropFragment,
            (Refusal::Ambiguous(Ambiguity::Extension), true) => Self::WouldDropExtension,
            (Refusal::Ambiguous(Ambiguity::Truncated), true) => Self::WouldDropTruncated,
        }
    }

    /// Why.
    pub const fn reason(self) -> Reason {
        match self {
            Self::PassedTrusted => Reason::Trusted,
            Self::PassedAllowed => Reason::Allowed,
            Self::PassedContainer => Reason::Container,
            Self::PassedForwarded => Reason::Forwarded,
            Self::PassedReply => Reason::Reply,
            Self::DroppedUntrusted | Self::WouldDropUntrusted => Reason::Untrusted,
            Self::DroppedFragment | Self::WouldDropFragment => Reason::Fragment,
            Self::DroppedExtension | Self::WouldDropExtension => Reason::Extension,
            Self::DroppedTruncated | Self::WouldDropTruncated => Reason::Truncated,
        }
    }

    /// What became of the packet.
    #[inline(always)]
    pub const fn fate(self) -> Fate {
        match self as u8 {
            0..=4 => Fate::Passed,
            5..=8 => Fate::Dropped,
            _ => Fate::WouldDrop,
        }
    }
}

/// Why the policy refuses a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing allows its source.
    Untrusted,
    /// Its port cannot be read.
    Ambiguous(Ambiguity),
}

/// What became of a counted packet: the metric label `verdict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Fate {
    /// Let through.
    Passed = 0,
    /// Dropped.
    Dropped = 1,
    /// Let through because `mode = "observe"`.
    WouldDrop = 2,
}

impl Fate {
    /// Metric label and JSON key; stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Dropped => "dropped",
            Self::WouldDrop => "would_drop",
        }
    }
}
