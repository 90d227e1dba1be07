//! The stream of one reader: what it is owed, what it has missed, and a sign of life.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::chunk::{Chunk, Topics};
use super::event;
use super::hub::Hub;
use super::ring::{Place, Step};

/// One reader; it has left once it is dropped.
pub(super) struct Reader {
    hub: Arc<Hub>,
    topics: Topics,
    place: Place,
    /// What it has read by itself and not been given yet.
    page: Option<Arc<Chunk>>,
    /// Whether it has had the first event.
    is_open: bool,
    /// The id of the last event, unless that was of rows: then more than those may have been looked through.
    told: Option<i64>,
    spoken: Instant,
}

impl Reader {
    pub(super) fn new(hub: Arc<Hub>, topics: Topics, place: Place) -> Self {
        Self { hub, topics, place, page: None, is_open: false, told: None, spoken: Instant::now() }
    }

    /// What goes to the client next. It ends when the server does, or when the database cannot be read: the client then
    /// resumes where it is.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let hub = self.hub.clone();
        let text = if self.is_open {
            hub.closing.run_until_cancelled(self.event()).await??
        } else {
            (self.is_open, self.told) = (true, Some(self.place.id));
            event::opening(self.place.id)
        };
        self.spoken = Instant::now();
        Some(text)
    }

    async fn event(&mut self) -> Option<Bytes> {
        loop {
            let step = match self.page.take() {
                Some(page) => Step::Take(page),
                None => self.hub.step(&mut self.place, &self.topics),
            };
            match step {
                Step::Take(chunk) => {
                    if let Some(text) = self.take(chunk) {
                        return Some(text);
                    }
                }
                Step::Read { until } => match self.hub.page(&self.topics, self.place.id, until).await {
                    Ok(page) => self.page = Some(page),
                    Err(error) => {
                        warn!(error = &error as &dyn std::error::Error, "a reader is cut off: its rows cannot be read");
                        return None;
                    }
                },
                Step::Missed { from, to } => {
                    self.hub.deliveries.missed(from, to);
                    self.told = Some(to);
                    return Some(event::missed(from, to));
                }
                Step::Wait if self.spoken.elapsed() < self.hub.heartbeat => {
                    self.wait().await;
                    // It looks before it gives a sign of life, which says how far it is.
                    continue;
                }
                Step::Wait => {}
            }
            // Long without a row that it wants: someone between us and it may think that it is dead.
            if self.spoken.elapsed() >= self.hub.heartbeat {
                return Some(self.heartbeat());
            }
        }
    }

    /// What it wants of a chunk, as far as one frame goes.
    fn take(&mut self, chunk: Arc<Chunk>) -> Option<Bytes> {
        let frame = chunk.frame(&self.topics, self.place.id);
        self.place.id = frame.last;
        if frame.last < chunk.last {
            self.page = Some(chunk);
        }
        if frame.text.is_empty() {
            return None;
        }
        self.hub.delivered(frame.text.len(), frame.rows);
        self.told = None;
        Some(frame.text)
    }

    /// Until there may be something for it, or it has been silent for long.
    async fn wait(&self) {
        let until = self.spoken + self.hub.heartbeat;
        tokio::select! {
            () = self.place.seat.woken() => {}
            () = sleep_until(until) => {}
        }
    }

    fn heartbeat(&mut self) -> Bytes {
        let id = self.place.id;
        event::heartbeat((self.told.replace(id) != Some(id)).then_some(id))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.hub.leave(&self.place, &self.topics);
    }
}
