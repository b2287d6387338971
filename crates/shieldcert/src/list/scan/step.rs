//! What a response leads to.

use super::super::page::Page;

/// What a response leads to.
pub(super) enum Step {
    /// It was read.
    Page {
        page: Page,
        has_new: bool,
        /// What is in flight continues where it ended.
        continues: bool,
    },
    /// It was not used.
    Nothing,
    /// It shows the end of the list.
    End,
    /// The list can't be read by this method.
    Stuck(Obstacle),
}

/// Why a list can't be read by a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The service ignores `page` or `offset`.
    Ignored,
    /// It ignores `per_page`.
    SizeIgnored,
    /// No range overlaps with what was read.
    NoOverlap,
    /// Responses hold nothing that was read.
    NoAnchor,
    /// It refuses the parameters.
    Refused,
    /// Pages that should be of one size are not.
    SizesVary,
    /// The service counts more records than it returns.
    MoreCounted,
}

impl Obstacle {
    pub(super) fn problem(self) -> &'static str {
        match self {
            Self::Ignored => {
                "the service returns its first records again, whatever `page` and `offset` are; check what stands \
                 between this client and the API"
            }
            Self::SizeIgnored | Self::SizesVary => {
                "the service returns pages of changing sizes, with gaps between them"
            }
            Self::NoOverlap | Self::NoAnchor => "no two pages overlap",
            Self::Refused => "the service refuses to return more",
            Self::MoreCounted => {
                "the service counts more certificates than it returns; check what stands between this client and the API"
            }
        }
    }
}
