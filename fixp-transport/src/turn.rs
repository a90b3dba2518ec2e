//! Giving way to other tasks.

use std::pin::pin;
use std::task::Context;

/// Sees to it that this task is polled again once the others of its thread, and its sockets, have had their
/// turn. Between the parts of a large entity: small requests do not wait behind it, and where its reader is on the
/// same core, it finds the part still in the cache.
pub(crate) fn give_way(cx: &mut Context<'_>) {
    // Never ready at once; it is woken when the turn is over, whether this is polled again or not.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::task::Poll;

    use super::give_way;

    #[test]
    fn it_goes_on_behind_the_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
        let turns = Cell::new(0);
        let way = async {
            let mut given = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut given, true) {
                    return Poll::Ready(());
                }
                give_way(cx);
                Poll::Pending
            })
            .await;
            turns.get()
        };
        let other = async { turns.set(1) };
        let (seen, ()) = runtime.block_on(async { tokio::join!(biased; way, other) });
        assert_eq!(seen, 1);
    }
}
