//! Who reads, and the one task that reads new rows for all of them, while there is anyone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::yield_now;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::chunk::{Chunk, Encoded, Held, Topics};
use super::pace::{self, Cost, Pace};
use super::pages::{PAGE_BYTES_MAX, PAGE_ROWS_MAX, Pages};
use super::reader::Reader;
use super::ring::{Bounds, Next, Place, Ring, Step};
use crate::ingest::Ingest;
use crate::ingest::fresh::{Fresh, Piece, Taken};
use crate::metrics::Deliveries;
use crate::store::{self, Filter, Order, Selection, StoreError};

/// What is kept of what all have been given: seconds of a busy day, so that who is slow for a moment misses nothing.
const RING: Bounds = Bounds { bytes_max: 8 << 20, lag_rows_max: 32_768 };
/// Rows that are read for all at once.
const CHUNK_ROWS_MAX: u32 = 8_192;
/// Rows that are encoded before other tasks have their turn.
const TURN_ROWS: i64 = 256;
/// How often it is looked at whether slow readers have taken what they hold, and how long to rest after a failed read.
const HELD_INTERVAL: Duration = Duration::from_millis(50);
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why somebody cannot follow.
#[derive(Debug)]
pub(crate) enum JoinError {
    /// As many do as may.
    TooManyReaders,
    Store(StoreError),
}

impl From<StoreError> for JoinError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why a page was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a row cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// The feed of new rows.
#[derive(Clone, Debug)]
pub(crate) struct Live(Arc<Hub>);

#[derive(Debug)]
pub(super) struct Hub {
    state: Mutex<State>,
    /// The first reader has come.
    joined: Notify,
    newest: watch::Receiver<i64>,
    fresh: Arc<Fresh>,
    store: store::Reader,
    pages: Pages,
    held: Held,
    /// Bytes that readers have taken.
    delivered: AtomicU64,
    readers_max: usize,
    held_bytes_max: usize,
    pub(super) heartbeat: Duration,
    pub(super) deliveries: Deliveries,
    pub(super) closing: CancellationToken,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    readers: usize,
}

/// How many readers there may be, and how they are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) readers_max: usize,
    /// Connections to the database that read.
    pub(crate) database_readers: u32,
    /// What may be in memory at once, with what slow readers hold; beyond it nothing is read until they took it or are
    /// given up.
    pub(crate) held_bytes_max: usize,
    /// How long a reader hears nothing.
    pub(crate) heartbeat: Duration,
}

impl Live {
    /// A feed of what `ingest` stores, read by `store`. Streams end when `closing` is cancelled.
    pub(crate) fn new(
        ingest: &Ingest,
        store: store::Reader,
        limits: Limits,
        deliveries: Deliveries,
        closing: CancellationToken,
    ) -> Self {
        Self(Arc::new(Hub {
            state: Mutex::new(State { ring: Ring::new(RING), readers: 0 }),
            joined: Notify::new(),
            newest: ingest.newest(),
            fresh: ingest.fresh(),
            store,
            pages: Pages::new(limits.database_readers),
            held: Held::default(),
            delivered: AtomicU64::new(0),
            readers_max: limits.readers_max,
            held_bytes_max: limits.held_bytes_max,
            heartbeat: limits.heartbeat,
            deliveries,
            closing,
        }))
    }

    /// A reader of all that is new, or of everything after an id. Whoever has had the answer to a POST before has its
    /// rows before this point.
    pub(super) async fn join(&self, topics: Topics, after: Option<i64>) -> Result<Reader, JoinError> {
        let hub = &self.0;
        let told = *hub.newest.borrow();
        // Not known before the writer has looked.
        let newest = if told == 0 { hub.store.newest_id().await? } else { told };
        let after = match after {
            // Another program may have stored it, and the writer learns of it with its own next row. An id that is not
            // there at all is of another life of the database: then everything from now on is new.
            Some(after) if after > newest => Some(after.min(hub.store.newest_id().await?.max(newest))),
            after => after,
        };
        let mut state = hub.lock();
        if state.readers >= hub.readers_max {
            return Err(JoinError::TooManyReaders);
        }
        if state.readers == 0 {
            state.ring.restart(newest);
            hub.fresh.want(true);
            hub.joined.notify_one();
        }
        state.readers += 1;
        let place = state.ring.begin(after, newest);
        drop(state);
        Ok(Reader::new(hub.clone(), topics, place))
    }

    /// How many follow.
    pub(crate) fn readers(&self) -> usize {
        self.0.lock().readers
    }

    /// Reads for all until `closing` is cancelled.
    pub(crate) fn follow(&self, closing: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let hub = self.0.clone();
        async move {
            closing.run_until_cancelled(hub.follow()).await;
        }
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn step(&self, place: &mut Place, topics: &Topics) -> Step {
        self.lock().ring.step(place, topics)
    }

    pub(super) fn leave(&self, place: &Place, topics: &Topics) {
        let mut state = self.lock();
        state.ring.leave(place, topics);
        state.readers -= 1;
        if state.readers == 0 {
            state.ring.clear();
            self.fresh.want(false);
        }
    }

    /// A reader was given so much.
    pub(super) fn delivered(&self, bytes: usize, rows: u64) {
        self.delivered.fetch_add(bytes as u64, Ordering::Relaxed);
        self.deliveries.sent(rows);
    }

    async fn follow(&self) {
        let mut newest = self.newest.clone();
        let mut pace = Pace::published(Instant::now(), Cost::default(), 0);
        let mut is_failing = false;
        loop {
            let (readers, next) = {
                let newest = *newest.borrow_and_update();
                let mut state = self.lock();
                let next = if state.readers == 0 { Next::Nothing } else { state.ring.next(newest) };
                (state.readers, next)
            };
            match next {
                Next::Nothing if readers == 0 => self.joined.notified().await,
                Next::Nothing => self.anything(&mut newest).await,
                Next::Moved => self.pages.clear(),
                Next::Read { after, until } => {
                    let due = pace.due(self.delivered.load(Ordering::Relaxed));
                    if Instant::now() < due {
                        // Then more may have come, and be read with it.
                        sleep_until(due.into()).await;
                        continue;
                    }
                    let began = Instant::now();
                    let published = self.publish(after, until).await;
                    let delivered = self.delivered.load(Ordering::Relaxed);
                    let woken = *published.as_ref().unwrap_or(&0);
                    pace = Pace::published(Instant::now(), Cost { took: began.elapsed(), woken }, delivered);
                    self.tell(published, &mut is_failing).await;
                }
            }
        }
    }

    /// Waits until there are new rows, or another first reader.
    async fn anything(&self, newest: &mut watch::Receiver<i64>) {
        tokio::select! {
            changed = newest.changed() => if changed.is_err() {
                // The writer has ended, and so does the program.
                std::future::pending().await
            },
            () = self.joined.notified() => {}
        }
    }

    /// The next rows for all; how many readers that woke.
    async fn publish(&self, after: i64, until: i64) -> Result<usize, Failure> {
        self.room().await;
        let bytes_max = pace::chunk_bytes_max(self.lock().ring.wait_for_all());
        let chunk = match self.fresh.take((after, until), CHUNK_ROWS_MAX as usize, bytes_max) {
            Taken::Rows(pieces) => self.encode(after, pieces).await,
            Taken::Unknown { until } => self.read(&Topics::All, (after, until), CHUNK_ROWS_MAX, bytes_max).await?,
        };
        let mut state = self.lock();
        // They may have left meanwhile.
        Ok(if state.readers > 0 { state.ring.publish(chunk) } else { 0 })
    }

    /// Rows that follow an id.
    async fn encode(&self, after: i64, pieces: Vec<Piece>) -> Arc<Chunk> {
        let (mut encoded, mut last) = (Encoded::default(), after);
        for row in pieces.into_iter().flat_map(|piece| piece.rows) {
            last += 1;
            encoded.fresh(last, row);
            if (last - after) % TURN_ROWS == 0 {
                yield_now().await;
            }
        }
        Arc::new(encoded.chunk((after, last), &self.held))
    }

    async fn tell(&self, published: Result<usize, Failure>, is_failing: &mut bool) {
        match published {
            Ok(_) if std::mem::take(is_failing) => info!("new rows are read again for those who follow them"),
            Ok(_) => {}
            Err(error) => {
                if !std::mem::replace(is_failing, true) {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "new rows cannot be read for those who follow them");
                }
                sleep(RETRY_DELAY).await;
            }
        }
    }

    /// Waits until what is held leaves room for more.
    async fn room(&self) {
        while self.held.bytes() > self.held_bytes_max {
            sleep(HELD_INTERVAL).await;
        }
    }

    /// A page for a reader that is behind the ring. Readers have such pages in turn, and rest as long as a page takes:
    /// whoever resumes from long ago, and however many do, takes half of one processor at most.
    pub(super) async fn page(&self, topics: &Topics, after: i64, until: i64) -> Result<Arc<Chunk>, Failure> {
        let _turn = self.pages.turn().await;
        if let Some(page) = self.pages.find(topics, after) {
            return Ok(page);
        }
        self.room().await;
        let began = Instant::now();
        let page = self.read(topics, (after, until), PAGE_ROWS_MAX, PAGE_BYTES_MAX).await;
        if let Ok(page) = &page {
            self.pages.keep(topics.clone(), page.clone());
        }
        // After a failure longer: whoever was cut off comes again.
        sleep(if page.is_ok() { began.elapsed() } else { RETRY_DELAY }).await;
        page
    }

    /// The next rows of some topics after one id and up to another: they may be none though more come, since a read is
    /// short whatever there is.
    async fn read(
        &self,
        topics: &Topics,
        (after, until): (i64, i64),
        rows_max: u32,
        bytes_max: usize,
    ) -> Result<Arc<Chunk>, Failure> {
        let selection = Selection {
            filter: Filter { topics: topics.wanted(), from: None, until: None },
            order: Order::Ascending,
            after_id: Some(after),
            newest_id: Some(until),
            limit: rows_max,
            bytes_max,
        };
        let page = self.store.list(&selection).await?;
        let last = page.next_after_id.unwrap_or(until);
        Ok(Arc::new(Chunk::new((after, last), page, &self.held)?))
    }
}
