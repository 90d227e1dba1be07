//! Between the event loop and the spool: a bounded intake, and the thread that makes messages durable, then acks them.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::mqtt::{Ack, Gate};
use crate::session::Note;
use crate::spool::{AppendError, Entry, Message, Writer};
use crate::status::Status;

/// Bytes that may wait for the disk in memory: two full commits, so that one fills while another is synced.
const UNDURABLE_BYTES_MAX: usize = 6 << 20;
/// What one message costs beside its bytes, generously; it bounds their number too.
const MESSAGE_BYTES_EXTRA: usize = 256;
/// Deliveries that may wait: with the extra cost above, their bytes run out first.
const QUEUE_MAX: usize = UNDURABLE_BYTES_MAX / MESSAGE_BYTES_EXTRA + 16;
/// One group commit: large enough to hide an fsync, small enough for the first of it not to wait long.
const COMMIT_MESSAGES_MAX: usize = 8192;
const COMMIT_BYTES_MAX: usize = 3 << 20;
/// Between attempts while the disk refuses.
const DISK_RETRY: Duration = Duration::from_millis(500);
/// How often the spool's files are looked at while no message comes.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How often a lasting disk fault is logged again.
const DISK_LOG_EVERY: Duration = Duration::from_secs(30);

/// What the event loop hands over at a time: what is to be durable, and what is owed to the broker once it is.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// None for a repetition of what is stored already, and for what is no message.
    pub message: Option<Message>,
    /// What must be remembered of the session, in the same frame as the message.
    pub note: Option<Note>,
    /// None where there is nothing to acknowledge, or nobody any more.
    pub ack: Option<Ack>,
}

impl Delivery {
    fn entries(&self) -> impl Iterator<Item = Entry<'_>> + Clone {
        self.note.map(Entry::Note).into_iter().chain(self.message.as_ref().map(Entry::Message))
    }

    fn bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.topic.len() + message.payload.len())
    }

    /// Whether the broker sends it again if it is not answered.
    fn comes_again(&self) -> bool {
        match &self.message {
            Some(message) => message.qos > 0,
            None => self.note.is_none(),
        }
    }
}

/// One step of the way into the spool, in receipt order.
enum Item {
    Delivery {
        delivery: Delivery,
        _room: OwnedSemaphorePermit,
    },
    /// Looks whether the spool's files are in place, where nothing else comes that would.
    Check,
    /// Shutdown: say goodbye behind the acks of all that came before.
    Finish,
}

/// The event loop's end. Dropping it ends the thread.
pub struct Intake {
    items: Sender<Item>,
    room: Arc<Semaphore>,
}

/// Room for one delivery: kept until it is on the disk.
pub struct Room(OwnedSemaphorePermit);

impl Intake {
    /// Waits until `delivery` may be held in memory. Cancel-safe.
    pub async fn reserve(&self, delivery: &Delivery) -> Room {
        let cost = delivery.bytes() + MESSAGE_BYTES_EXTRA;
        // A message larger than the whole limit takes all of it: it is let through alone.
        let permits = cost.min(UNDURABLE_BYTES_MAX) as u32;
        Room(self.room.clone().acquire_many_owned(permits).await.expect("the semaphore is never closed"))
    }

    /// Hands a delivery over; it is acknowledged once it, and all that came before it, is durable.
    pub fn take(&self, room: Room, delivery: Delivery) {
        // Room is reserved first, so the queue is never full; a closed one means that the thread died, which ends the
        // process.
        let _ = self.items.try_send(Item::Delivery { delivery, _room: room.0 });
    }

    /// The handle with which shutdown asks for the goodbye.
    pub fn finisher(&self) -> Finisher {
        Finisher(self.items.clone().downgrade())
    }
}

/// Asks for the goodbye, and for checks, without keeping the thread alive.
pub struct Finisher(mpsc::WeakSender<Item>);

impl Finisher {
    /// Everything that was handed over before is committed and acknowledged, then the broker is told goodbye.
    pub async fn finish(&self) {
        if let Some(items) = self.0.upgrade() {
            let _ = items.send(Item::Finish).await;
        }
    }

    /// Has the spool's files looked at every second, until `token` is cancelled: without messages too it shows that
    /// somebody removed them.
    pub async fn check_spool(self, token: CancellationToken) {
        let mut tick = tokio::time::interval(CHECK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while token.run_until_cancelled(tick.tick()).await.is_some() {
            // A full queue means that messages come.
            if let Some(items) = self.0.upgrade() {
                let _ = items.try_send(Item::Check);
            }
        }
    }
}

/// Starts the thread; it ends when the intake is dropped, or with `token` while the disk refuses.
pub fn start(
    writer: Writer,
    gate: Arc<Gate>,
    status: Arc<Status>,
    token: CancellationToken,
) -> anyhow::Result<(Intake, JoinHandle<()>)> {
    let (items, queue) = mpsc::channel(QUEUE_MAX);
    let intake = Intake { items, room: Arc::new(Semaphore::new(UNDURABLE_BYTES_MAX)) };
    let mut capture = Capture { writer, gate, status, token, finishing: false };
    let thread = std::thread::Builder::new()
        .name("capture".into())
        .spawn(move || capture.run(queue))
        .context("the capture thread")?;
    Ok((intake, thread))
}

struct Capture {
    writer: Writer,
    gate: Arc<Gate>,
    status: Arc<Status>,
    token: CancellationToken,
    /// The goodbye is under way: what the broker still sends it will send again.
    finishing: bool,
}

impl Capture {
    fn run(&mut self, mut queue: Receiver<Item>) {
        let mut batch = Vec::new();
        while let Some(item) = queue.blocking_recv() {
            self.collect(item, &mut queue, &mut batch);
            if !self.settle(&mut batch) {
                break;
            }
        }
        // Where the disk refused until shutdown, the rest is not acknowledged: the broker keeps it.
        self.gate.disconnect();
    }

    /// Takes what is there already. No lingering: while one commit runs, the next one fills.
    fn collect(&self, first: Item, queue: &mut Receiver<Item>, batch: &mut Vec<Item>) {
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(item) = next {
            bytes += item.delivery().map_or(0, Delivery::bytes);
            let finish = matches!(item, Item::Finish);
            if !(self.finishing && item.delivery().is_some_and(Delivery::comes_again)) {
                batch.push(item);
            }
            if finish || batch.len() >= COMMIT_MESSAGES_MAX || bytes >= COMMIT_BYTES_MAX {
                break;
            }
            next = queue.try_recv().ok();
        }
    }

    /// Makes the batch durable, then acknowledges it, part by part where space is short; false when shutdown comes first.
    fn settle(&mut self, batch: &mut Vec<Item>) -> bool {
        while !batch.is_empty() {
            let Some(durable) = self.commit(batch) else { return false };
            let acks = batch[..durable].iter().filter_map(|item| item.delivery()?.ack);
            self.status.counts.acknowledged.inc_by(acks.clone().count() as u64);
            self.gate.ack(acks);
            if batch[..durable].iter().any(|item| matches!(item, Item::Finish)) {
                self.finishing = true;
                self.gate.disconnect();
            }
            batch.drain(..durable);
        }
        true
    }

    /// Makes items from the start of the batch durable, however long it takes: how many, or none at shutdown.
    ///
    /// When the spool refuses, half as many are tried: a batch may be larger than all the space there is.
    fn commit(&mut self, batch: &[Item]) -> Option<usize> {
        let mut count = batch.len();
        let mut logged: Option<Instant> = None;
        loop {
            let entries = batch[..count].iter().filter_map(Item::delivery).flat_map(Delivery::entries);
            let began = Instant::now();
            let appended = match entries.clone().next() {
                Some(_) => self.writer.append(entries.clone()).map(drop),
                // What is repeated is acknowledged because it is in the spool already.
                None => self.writer.check(),
            };
            let fault = match appended {
                Ok(()) if entries.clone().next().is_none() => break,
                Ok(()) => {
                    let messages = entries.filter(|entry| matches!(entry, Entry::Message(_))).count() as u64;
                    self.status.counts.committed(messages, began.elapsed());
                    break;
                }
                Err(fault) => fault,
            };
            self.status.spool_failed(&fault);
            if count > 1 && fault.is_for_space() {
                count /= 2;
                continue;
            }
            if logged.is_none_or(|at| at.elapsed() >= DISK_LOG_EVERY) {
                logged = Some(Instant::now());
                match &fault {
                    AppendError::Full { .. } => {
                        warn!(%fault, "nothing is acknowledged until the API has taken messages")
                    }
                    AppendError::Misplaced { .. } => {
                        error!(%fault, "nothing is acknowledged until the spool's files are in place again")
                    }
                    AppendError::Io(_) => error!(%fault, "nothing is acknowledged until the disk takes it"),
                }
            }
            if self.token.is_cancelled() {
                return None;
            }
            self.writer.wait_for_space(DISK_RETRY);
        }
        if logged.is_some() {
            info!("the spool takes messages again");
        }
        self.status.spool_recovered();
        Some(count)
    }
}

impl Item {
    fn delivery(&self) -> Option<&Delivery> {
        match self {
            Self::Delivery { delivery, .. } => Some(delivery),
            Self::Check | Self::Finish => None,
        }
    }
}
