//! A run of consecutive messages as one NDJSON body.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;
use dados::{NovoDado, Timestamp};

use crate::spool::{Clock, Frame, Message};

/// The most messages of one request.
const ROWS_MAX: usize = 4096;
/// The most bytes of topics and payloads in one request; a larger message goes alone.
const BYTES_MAX: usize = 1 << 20;
/// What JSON adds to a message, roughly.
const LINE_BYTES_EXTRA: usize = 110;

/// A message with the sequence that it has in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence.
    pub sequence: u64,
    /// What the broker sent.
    pub message: Message,
}

impl Stored {
    fn bytes(&self) -> usize {
        self.message.topic.len() + self.message.payload.len()
    }

    /// As `POST /dados` takes it.
    pub fn novo_dado(&self) -> NovoDado<'_> {
        let message = &self.message;
        NovoDado {
            topico: Some(topic_text(message)),
            timestamp: Timestamp::from_ms(message.captured_ms).ok(),
            qos: Some(message.qos),
            retido: Some(message.retain),
            dup: Some(message.dup),
            hora_corrigida: (message.clock == Clock::Corrected).then_some(true),
            ..NovoDado::from_payload(&message.payload)
        }
    }
}

/// At least one message; their sequences count up by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch(VecDeque<Stored>);

/// Messages that were read from the spool and are not posted yet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<Stored>,
    bytes: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn push(&mut self, frame: Frame) {
        let stored = |(sequence, message)| Stored { sequence, message };
        let before = self.messages.len();
        self.messages.extend((frame.first_sequence..).zip(frame.messages).map(stored));
        self.bytes += self.messages.range(before..).map(Stored::bytes).sum::<usize>();
    }

    /// What is known of the clock when each message was captured.
    pub(super) fn clocks(&self) -> impl Iterator<Item = Clock> {
        self.messages.iter().map(|stored| stored.message.clock)
    }

    /// Whether a request could hold more than what is queued.
    pub(super) fn wants_more(&self) -> bool {
        self.messages.len() < ROWS_MAX && self.bytes < BYTES_MAX
    }

    /// Takes as many messages as fit into one request. The queue must not be empty.
    ///
    /// It ends before a gap: the API counts sequences up from the first one.
    pub(super) fn take(&mut self) -> Batch {
        let first = self.messages.front().expect("the caller waited for a message").sequence;
        let mut bytes = 0;
        let fits = |(index, stored): &(usize, &Stored)| {
            let fits = *index == 0 || bytes + stored.bytes() <= BYTES_MAX;
            bytes += if fits { stored.bytes() } else { 0 };
            fits && stored.sequence == first + *index as u64
        };
        let count = self.messages.iter().take(ROWS_MAX).enumerate().take_while(fits).count();
        let taken: VecDeque<_> = self.messages.drain(..count).collect();
        self.bytes -= taken.iter().map(Stored::bytes).sum::<usize>();
        Batch(taken)
    }
}

impl Batch {
    /// The sequence of the first message.
    pub fn first_sequence(&self) -> u64 {
        self.0[0].sequence
    }

    /// The sequence of the last one.
    pub fn last_sequence(&self) -> u64 {
        self.first_sequence() + self.0.len() as u64 - 1
    }

    /// At least one.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Every message.
    pub(super) fn messages_mut(&mut self) -> impl Iterator<Item = &mut Message> {
        self.0.iter_mut().map(|stored| &mut stored.message)
    }

    /// The message of a sequence that is within the batch.
    pub(super) fn message(&self, sequence: u64) -> &Stored {
        &self.0[(sequence - self.first_sequence()) as usize]
    }

    /// When the first message was captured, in milliseconds since the Unix epoch.
    pub(super) fn captured_ms(&self) -> i64 {
        self.0[0].message.captured_ms
    }

    /// Those of its messages whose sequences are within `from` and `to`, of which there must be one.
    pub(super) fn within(self, from: u64, to: u64) -> Self {
        let first = self.first_sequence();
        let messages: VecDeque<_> =
            self.0.into_iter().skip((from - first) as usize).take((to + 1 - from) as usize).collect();
        assert!(!messages.is_empty(), "no message within {from} and {to}");
        Self(messages)
    }

    /// One line a message.
    pub fn ndjson(&self) -> Bytes {
        let bytes: usize = self.0.iter().map(|stored| stored.bytes() + LINE_BYTES_EXTRA).sum();
        let mut body = Vec::with_capacity(bytes + bytes / 8);
        for stored in &self.0 {
            serde_json::to_writer(&mut body, &stored.novo_dado()).expect("a message is always JSON, a Vec takes all");
            body.push(b'\n');
        }
        body.into()
    }

    /// Two smaller batches, or the only message.
    pub(super) fn halves(mut self) -> Result<(Self, Self), Stored> {
        if self.0.len() == 1 {
            return Err(self.0.remove(0).expect("a batch is never empty"));
        }
        let second = self.0.split_off(self.0.len() / 2);
        Ok((self, Self(second)))
    }
}

/// The topic as text; the broker guarantees UTF-8 (MQTT 5.0 §1.5.4).
pub fn topic_text(message: &Message) -> Cow<'_, str> {
    String::from_utf8_lossy(&message.topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(sizes: &[(u64, usize)]) -> Queue {
        let message = |bytes| Message {
            topic: Bytes::from_static(b"a"),
            payload: vec![b'x'; bytes].into(),
            qos: 1,
            retain: false,
            dup: false,
            captured_ms: 0,
            clock: Clock::Set,
        };
        let mut queue = Queue::default();
        for &(first_sequence, bytes) in sizes {
            queue.push(Frame { first_sequence, messages: vec![message(bytes)], notes: Vec::new() });
        }
        queue
    }

    fn taken(sizes: &[(u64, usize)]) -> (u64, usize) {
        let mut queue = queue(sizes);
        let batch = queue.take();
        assert_eq!(queue.bytes, queue.messages.iter().map(Stored::bytes).sum::<usize>());
        (batch.first_sequence(), batch.len())
    }

    #[test]
    fn a_batch_ends_at_a_gap_at_its_bytes_and_at_its_rows() {
        assert_eq!(taken(&[(5, 1), (6, 1), (8, 1)]), (5, 2));
        assert_eq!(taken(&[(1, BYTES_MAX / 2), (2, BYTES_MAX / 4), (3, BYTES_MAX / 2)]), (1, 2));
        assert_eq!(taken(&[(1, 3 * BYTES_MAX), (2, 1)]), (1, 1), "a large message goes alone");
        let many: Vec<_> = (1..=ROWS_MAX as u64 + 5).map(|sequence| (sequence, 1)).collect();
        assert_eq!(taken(&many), (1, ROWS_MAX));
    }

    #[test]
    fn lines_carry_everything() {
        let mut batch = queue(&[(1, 2)]).take();
        batch.0[0].message.payload = Bytes::from_static(&[0xff, 0]);
        batch.0[0].message.retain = true;
        let body = batch.ndjson();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            "{\"valor\":\"/wA=\",\"topico\":\"a\",\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"qos\":1,\"retido\":true,\"dup\":false,\"formato\":\"base64\"}\n"
        );
    }

    #[test]
    fn halving_keeps_order_and_ends_at_one() {
        let batch = queue(&[(1, 1), (2, 1), (3, 1)]).take();
        let (first, second) = batch.halves().unwrap();
        assert_eq!((first.first_sequence(), first.len(), second.first_sequence(), second.len()), (1, 1, 2, 2));
        assert_eq!(first.halves().unwrap_err().sequence, 1);
    }
}
