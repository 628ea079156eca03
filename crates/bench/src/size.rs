/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// What the published figures are made of.
    Full,
    /// Enough for a first look.
    Quick,
    /// Everything runs once, on next to nothing: shows that it works, and measures nothing.
    Tiny,
}

impl Size {
    /// How many turns each contender has.
    #[must_use]
    pub fn rounds(self) -> usize {
        match self {
            Self::Full => 15,
            Self::Quick => 5,
            Self::Tiny => 1,
        }
    }

    /// A number of operations or entries, in proportion.
    #[must_use]
    pub fn of(self, full: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Quick => (full / 4).max(1),
            Self::Tiny => (full / 2_000).max(1),
        }
    }

    /// A number of entries that shapes the work, and shrinks only where nothing is measured.
    #[must_use]
    pub fn entries(self, full: usize) -> usize {
        if self == Self::Tiny { (full / 1_000).max(10) } else { full }
    }
}
