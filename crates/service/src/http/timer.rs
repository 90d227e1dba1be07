//! One timer a connection, for the heads of all its requests.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

use super::limit::Seat;

/// hyper makes a timer for each head and drops it with the head's end. To tokio that is two turns at a lock that all
/// connections share, and a system call where the timer is due before all others, as it is while no other connection waits
/// for a head. That a timer which it has is due later, it is told by one atomic write.
///
/// While it is lent, a head is awaited: that is when the connection is idle.
#[derive(Clone)]
pub(super) struct OneTimer {
    slot: Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>,
    seat: Arc<Seat>,
}

/// The timer while a head is read, after which it goes back.
struct Lent {
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    home: OneTimer,
}

impl OneTimer {
    pub(super) fn new(seat: Arc<Seat>) -> Self {
        Self { slot: Arc::default(), seat }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Pin<Box<tokio::time::Sleep>>>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer for OneTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let sleep = match self.slot().take() {
            Some(mut sleep) => {
                sleep.as_mut().reset(deadline.into());
                sleep
            }
            None => Box::pin(tokio::time::sleep_until(deadline.into())),
        };
        self.seat.set_idle(true);
        Box::pin(Lent { sleep: Some(sleep), home: self.clone() })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

impl Future for Lent {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl Sleep for Lent {}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.home.slot() = self.sleep.take();
        self.home.seat.set_idle(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_head_has_its_own_time() {
        let timer = OneTimer::new(Arc::new(Seat::new(0, false)));
        let born = timer.now();
        for _ in 0..5 {
            let head = timer.sleep(10 * SECOND);
            tokio::time::sleep(8 * SECOND).await;
            drop(head);
            assert!(!timer.seat.is_idle());
        }
        let head = timer.sleep(10 * SECOND);
        assert!(timer.slot().is_none(), "there is one timer, and it is lent");
        assert!(timer.seat.is_idle());
        head.await;
        assert_eq!(timer.now() - born, 50 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_was_due_is_none_for_the_next_head() {
        let timer = OneTimer::new(Arc::new(Seat::new(0, false)));
        timer.sleep(SECOND).await;
        let begun = timer.now();
        timer.sleep(10 * SECOND).await;
        assert_eq!(timer.now() - begun, 10 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn two_at_once_are_two() {
        let timer = OneTimer::new(Arc::new(Seat::new(0, false)));
        let (long, short) = (timer.sleep(10 * SECOND), timer.sleep(SECOND));
        let begun = timer.now();
        short.await;
        assert_eq!(timer.now() - begun, SECOND);
        long.await;
        assert_eq!(timer.now() - begun, 10 * SECOND);
    }
}
