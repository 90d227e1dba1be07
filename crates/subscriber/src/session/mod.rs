//! What must be remembered of the session at the broker, so that nothing is stored twice and no subscription is
//! forgotten.
//!
//! - [`inbound`]: QoS 2, which packet ids the broker has not released; kept over restarts by the spool's journal
//! - [`owed`]: QoS 1, which messages are stored but not acknowledged; kept while the process lives
//! - [`reuse`]: how soon the broker gives a packet id again
//! - [`subscriptions`]: which filters the session may have
//!
//! All but the last are pure state machines.
//!
//! # How QoS 2 becomes exactly once (MQTT 5.0 §4.3.3, method B)
//!
//! Between a PUBLISH and its PUBREL the packet id names one message. `mqtt/v5` keeps an [`Inbound`] that is ahead of
//! the disk; every change to it is a [`Note`] that goes through the capture queue in receipt order. A message and the
//! note that holds its id are written in one frame of the spool, under one checksum and one sync, and only then comes
//! PUBREC. So after a crash either both are there, and the repetition is recognised, or neither is, and the repetition
//! is stored. The spool's writer applies the notes that are durable to an [`Inbound`] of its own; its checkpoint at the
//! start of each segment, and the notes of the segments since, give the state back at the next start. Notes that are
//! replayed twice leave the same ids held: the last one for an id wins.
//!
//! What is left: a session that was lost without our hearing of it (CONNACK never came) begins with ids that we think
//! are held, and PUBCOMP is written by rumqttc before the note of the release is durable. A crash in between leaves an
//! id held that the broker has freed. In both cases a new message is taken for a repetition only if the broker gives it
//! such an id and it has the same content, the connection is cut before it is read, and it comes again with DUP.

#[cfg(test)]
mod exactly_once;
pub mod inbound;
pub mod owed;
pub mod reuse;
pub mod subscriptions;

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

pub use inbound::Inbound;
pub use owed::Owed;

/// A message's content, as far as it identifies a repetition: the same in every build, since it is kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Of the parts of a message, in a fixed order. Their lengths count, so that no two messages run into each other.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = SipHasher13::new();
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        Self(hasher.finish())
    }
}

/// One change of an [`Inbound`], as the spool's frames keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A QoS 2 message of this id is stored: in the same frame, or before if it is a repetition.
    Held {
        /// The packet id.
        pkid: u16,
        /// What the message is.
        fingerprint: Fingerprint,
        /// Whether the broker was seen to give ids again late ([`reuse`]).
        late: bool,
        /// Whether it came with DUP set.
        dup: bool,
    },
    /// PUBREL: the id is free.
    Released {
        /// The packet id.
        pkid: u16,
    },
    /// The broker has forgotten the session: all ids are free.
    Lost,
    /// In a checkpoint: the id was released, and the broker may not know that we know.
    Past {
        /// The packet id.
        pkid: u16,
        /// What its message was.
        fingerprint: Fingerprint,
    },
    /// In a checkpoint: ids are given again late, and so many messages of QoS 1 came after the newest of QoS 2.
    Passed {
        /// Of QoS 1.
        messages: u32,
    },
    /// An id was given again early.
    Early,
}
