//! Who sends a request, as far as the database must know: whose a producer is, and whose an idempotency key.

use std::collections::HashSet;
use std::sync::Arc;

/// The name of the request's token, and the names of all tokens in force. Both are absent where access is anonymous.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sender {
    name: Option<Arc<str>>,
    in_force: Option<Arc<HashSet<Arc<str>>>>,
}

/// Why the batch or the report of a producer was refused, for the client: nothing of it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denial {
    /// That token is in force.
    #[error("this producer belongs to another token; nothing was stored")]
    OtherToken,
    /// Sequences before the batch's first one are neither stored nor reported as accounted for.
    #[error(
        "the batch may begin with {first_sequence_max} at most: report first what became of the messages before it \
         (PUT /produtores/{{uuid}}, confirmadas); nothing was stored"
    )]
    Unreported {
        /// The highest sequence that the batch may begin with.
        first_sequence_max: i64,
    },
    /// The producer would be a new one.
    #[error("this token has made as many producers as it may; nothing was stored")]
    TooManyProducers,
}

impl Sender {
    pub(crate) fn new(name: Arc<str>, in_force: Arc<HashSet<Arc<str>>>) -> Self {
        Self { name: Some(name), in_force: Some(in_force) }
    }

    /// The token's name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether a producer is this sender's already.
    pub(crate) fn owns(&self, owner: Option<&str>) -> bool {
        self.name() == owner
    }

    /// Whether this sender may use a producer. A producer without a token is for anyone, and so is one whose token is not
    /// among the tokens any more: so an operator renames a token, replaces it, or begins to use tokens.
    pub(crate) fn may_use(&self, owner: Option<&str>) -> bool {
        let is_in_force = |owner| self.in_force.as_ref().is_some_and(|names| names.contains(owner));
        self.owns(owner) || owner.is_none_or(|owner| !is_in_force(owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_is_its_tokens_as_long_as_there_is_that_token() {
        let names = Arc::new(HashSet::from([Arc::from("a"), Arc::from("b")]));
        let sender = Sender::new("a".into(), names);
        assert!(sender.owns(Some("a")) && !sender.owns(Some("b")) && !sender.owns(None));
        for (owner, expected) in [(None, true), (Some("a"), true), (Some("b"), false), (Some("gone"), true)] {
            assert_eq!(sender.may_use(owner), expected, "{owner:?}");
        }
        assert!(Sender::default().may_use(Some("a")) && Sender::default().owns(None));
    }
}
