//! How fast bytes may go over the network, and bodies of requests that keep to it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// So many bytes are handed over at once.
const PIECE: usize = 64 << 10;

/// A rate that all transfers of a run keep to together.
#[derive(Debug)]
pub struct Pace {
    rate: u64,
    /// When the next bytes may go.
    next: Mutex<Instant>,
}

impl Pace {
    /// `rate` bytes a second, at least 1.
    #[must_use]
    pub fn new(rate: u64) -> Self {
        Self {
            rate: rate.max(1),
            next: Mutex::new(Instant::now()),
        }
    }

    /// How many bytes are worth taking at once, so that several transfers take turns.
    fn piece(&self) -> usize {
        usize::try_from(self.rate / 8)
            .unwrap_or(PIECE)
            .clamp(1 << 10, PIECE)
    }

    /// When `bytes` may go that are asked for now; what comes later goes later.
    fn take(&self, bytes: usize) -> Instant {
        // Poisoned only if a thread panicked; the time in it is right all the same.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (*next).max(Instant::now());
        *next = at + self.time_of(bytes);
        at
    }

    fn time_of(&self, bytes: usize) -> Duration {
        let nanoseconds = u128::from(1_000_000_000_u64) * bytes as u128 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Waits until `bytes` that have come may be taken.
    pub(super) async fn wait(&self, bytes: usize) {
        tokio::time::sleep_until(self.take(bytes).into()).await;
    }
}

/// The body of a request, at the pace that was asked for.
pub(super) struct Paced {
    rest: Bytes,
    pace: Option<Arc<Pace>>,
    /// Until when to wait, and what goes then.
    waiting: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Paced {
    pub(super) fn new(bytes: Bytes, pace: Option<Arc<Pace>>) -> Self {
        Self {
            rest: bytes,
            pace,
            waiting: None,
        }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if self.waiting.is_none()
            && let Some(pace) = &self.pace
        {
            let length = self.rest.len().min(pace.piece());
            let at = pace.take(length);
            self.waiting = Some((Box::pin(tokio::time::sleep_until(at.into())), length));
        }
        let mut length = self.rest.len().min(PIECE);
        if let Some((sleep, waits)) = &mut self.waiting {
            length = *waits;
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.waiting = None;
        }
        let piece = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_who_ask_together_keep_to_the_rate_together() {
        let pace = Pace::new(1 << 20);
        let start = Instant::now();
        let times: Vec<_> = (0..5).map(|_| pace.take(1 << 19)).collect();
        for pair in times.windows(2) {
            assert_eq!(pair[1] - pair[0], Duration::from_millis(500));
        }
        assert!(times[0] - start < Duration::from_millis(400));
    }

    #[test]
    fn pieces_are_small_where_the_rate_is() {
        assert_eq!(Pace::new(u64::MAX).piece(), PIECE);
        assert_eq!(Pace::new(80_000).piece(), 10_000);
        assert_eq!(Pace::new(0).piece(), 1 << 10);
    }
}
