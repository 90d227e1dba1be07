//! What is too old: where looking for it goes on.

/// The tables whose rows have an age of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aged {
    Readings,
    Minutes,
    Hours,
}

/// A field of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) topico: String,
    pub(crate) campo: String,
}

/// What one piece of work deleted, and after what the next begins; none where all was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gone<P> {
    pub(crate) rows: u64,
    pub(crate) next: Option<P>,
}
