//! The columns of a manifest.

/// A column of CSV, or a member of JSONL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    State,
    CommonName,
    Organization,
    OrganizationalUnit,
    Locality,
    Province,
    Country,
    Key,
    Days,
    Zone,
    Csr,
    Output,
    Labels,
}

impl Column {
    pub(super) const ALL: [Self; 14] = [
        Self::Name,
        Self::State,
        Self::CommonName,
        Self::Organization,
        Self::OrganizationalUnit,
        Self::Locality,
        Self::Province,
        Self::Country,
        Self::Key,
        Self::Days,
        Self::Zone,
        Self::Csr,
        Self::Output,
        Self::Labels,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::State => "state",
            Self::CommonName => "common_name",
            Self::Organization => "organization",
            Self::OrganizationalUnit => "organizational_unit",
            Self::Locality => "locality",
            Self::Province => "province",
            Self::Country => "country",
            Self::Key => "key",
            Self::Days => "days",
            Self::Zone => "zone",
            Self::Csr => "csr",
            Self::Output => "output",
            Self::Labels => "labels",
        }
    }

    pub(super) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.as_str() == name)
    }

    pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
        Self::ALL.into_iter().map(Self::as_str)
    }
}

impl From<Column> for String {
    fn from(column: Column) -> Self {
        column.as_str().to_owned()
    }
}
