//! Driving hyper's connection through one exchange: until nothing of that is left in it, or it is not to go on.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::progress::RequestProgress;
use super::timer::Timer;
use crate::failure::Reason;

/// How hyper has left an exchange.
pub(super) enum Driven {
    /// Nothing of the exchange is left in hyper, which would now wait for the next one.
    Complete,
    /// hyper has written all and wants to close.
    Closed,
    Failed,
}

/// Polls hyper until this exchange is over.
pub(super) async fn drive<C>(
    connection: &mut C,
    progress: &RequestProgress,
    stall: Duration,
) -> Driven
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let (mut doubt, mut unread) = (None, None);
    poll_fn(|cx| {
        progress.standing.served_by(cx.waker());
        match Pin::new(&mut *connection).poll(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(Driven::Closed),
            Poll::Ready(Err(_)) => return Poll::Ready(Driven::Failed),
            Poll::Pending if progress.is_complete() => return Poll::Ready(Driven::Complete),
            Poll::Pending => {}
        }
        if progress.standing.is_condemned() && progress.standing.is_answering() {
            return Poll::Ready(if progress.is_answered() {
                Driven::Closed
            } else {
                Driven::Failed
            });
        }
        if progress.is_answered() {
            // The answer came early, and the application still reads: as long as something moves.
            progress.wake_when_let_go(cx.waker());
            let timer = unread.get_or_insert_with(|| {
                // hyper may have looked for more before the answer had left: let it look again.
                cx.waker().wake_by_ref();
                Timer::new(stall)
            });
            while timer.poll_expired(cx).is_ready() {
                let left = stall.saturating_sub(progress.moved().map_or(stall, |at| at.elapsed()));
                if left.is_zero() {
                    return Poll::Ready(Driven::Closed);
                }
                timer.set(left);
            }
        } else if progress.is_in_doubt() {
            // An event stream may be silent for hours; its client's close would only show at the next write.
            let timer = doubt.get_or_insert_with(|| Timer::new(GRACE));
            return timer.poll_expired(cx).map(|()| {
                progress.fail(Reason::ClientGone);
                Driven::Failed
            });
        }
        Poll::Pending
    })
    .await
}

/// How long a response of unknown length goes on for a client that has said it will send no more.
const GRACE: Duration = Duration::from_millis(500);
