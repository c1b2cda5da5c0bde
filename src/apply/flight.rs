//! What is under way at the same time.

use std::pin::pin;

use futures_util::future::{Either, FutureExt, select};
use futures_util::stream::{FuturesUnordered, StreamExt};

/// Operations that are under way. They go on while the journal is written: what is answered meanwhile is recorded
/// together, by the next write.
pub(super) struct Flight<Sent: Future> {
    under_way: FuturesUnordered<Sent>,
    landed: Vec<Sent::Output>,
}

impl<Sent: Future> Flight<Sent> {
    pub(super) fn new() -> Self {
        Flight {
            under_way: FuturesUnordered::new(),
            landed: Vec::new(),
        }
    }

    /// How many have been sent and were not taken back by [`land`](Self::land).
    pub(super) fn len(&self) -> usize {
        self.under_way.len() + self.landed.len()
    }

    pub(super) fn send(&self, one: Sent) {
        self.under_way.push(one);
    }

    /// Does this, and lets what is under way go on.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            if self.under_way.is_empty() {
                return work.await;
            }
            match select(work, self.under_way.next()).await {
                Either::Left((done, _)) => return done,
                Either::Right((landed, unfinished)) => {
                    self.landed.extend(landed);
                    work = unfinished;
                }
            }
        }
    }

    /// Waits until one is answered, if any is under way, and takes all that are.
    pub(super) async fn land(&mut self) -> Vec<Sent::Output> {
        if self.landed.is_empty() {
            self.landed.extend(self.under_way.next().await);
        }
        // Whoever else is answered by now does not wait for another write.
        while let Some(Some(landed)) = self.under_way.next().now_or_never() {
            self.landed.push(landed);
        }
        std::mem::take(&mut self.landed)
    }
}
