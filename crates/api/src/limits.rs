//! What request bodies may cost: the bytes that all of them hold at once, from the first chunk to the commit.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that all bodies and the rows made of them may hold at once; at least the largest body and what is made of it.
const HELD_BYTES_MAX: usize = 128 << 20;

/// No memory is left for another body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

/// The bytes that are left for bodies.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    free: Arc<Semaphore>,
    bytes_max: usize,
}

/// Bytes that one request holds; they are free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    memory: Memory,
    held: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// Room for bodies of which the largest has `body_bytes_max`.
    pub(crate) fn new(body_bytes_max: usize) -> Self {
        let bytes = HELD_BYTES_MAX.max(body_bytes_max.saturating_mul(2));
        let bytes_max = bytes.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(bytes_max)), bytes_max }
    }

    /// Bytes that all requests hold now.
    pub(crate) fn held(&self) -> usize {
        self.bytes_max - self.free.available_permits()
    }

    /// Bytes that they may hold.
    pub(crate) fn max(&self) -> usize {
        self.bytes_max
    }

    /// Nothing yet.
    pub(crate) fn reserve(&self) -> Reservation {
        Reservation { memory: self.clone(), held: None }
    }
}

impl Reservation {
    /// Holds `bytes` more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        let bytes = u32::try_from(bytes).map_err(|_| OutOfMemory)?;
        let more = self.memory.free.clone().try_acquire_many_owned(bytes).map_err(|_| OutOfMemory)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_comes_back() {
        let memory = Memory::new(1);
        let mut first = memory.reserve();
        first.grow(HELD_BYTES_MAX - 1).unwrap();
        first.grow(1).unwrap();
        assert_eq!((first.bytes(), memory.held(), memory.max()), (HELD_BYTES_MAX, HELD_BYTES_MAX, HELD_BYTES_MAX));
        let mut second = memory.reserve();
        assert_eq!(second.grow(1), Err(OutOfMemory));
        drop(first);
        second.grow(1).unwrap();
    }
}
