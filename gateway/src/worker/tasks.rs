//! The loops of a worker's thread. Each takes the core for one bounded piece of work at a time.

use std::rc::Rc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc};
use vmsgate_netio::{Frame, RecvBatch, TunQueue};

use super::SharedCore;
use super::arrivals::Next;
use super::handover::Parcel;

/// Reads batches from one socket.
pub(super) async fn receive(core: SharedCore, at: usize) {
    let socket = core.borrow().socket(at);
    let mut batch = RecvBatch::new();
    loop {
        match socket.recv_batch(&mut batch).await {
            Ok(()) => core.borrow_mut().handle_batch(&batch, Instant::now()),
            Err(error) => {
                core.borrow().report_socket_failure(&error);
                return;
            }
        }
        // Flows and timers get their turn between batches.
        tokio::task::yield_now().await;
    }
}

/// Reads packets from the kernel.
pub(super) async fn receive_lan(core: SharedCore, queue: Rc<TunQueue>, room: Rc<Notify>) {
    let mut frame = Frame::new();
    let mut next = Next::Packet;
    loop {
        let ready = match next {
            Next::Packet => queue.readable().await,
            Next::Room => {
                room.notified().await;
                Ok(())
            }
            Next::Yield => {
                tokio::task::yield_now().await;
                Ok(())
            }
        };
        match ready.and_then(|()| core.borrow_mut().handle_lan(&mut frame, Instant::now())) {
            Ok(wait) => next = wait,
            Err(error) => {
                tracing::error!(%error, "the TUN interface is gone");
                return;
            }
        }
    }
}

/// Takes what other workers hand over. Ends only with them.
pub(super) async fn take_parcels(core: SharedCore, mut parcels: mpsc::Receiver<Parcel>) {
    while let Some(parcel) = parcels.recv().await {
        core.borrow_mut().handle_parcel(parcel, Instant::now());
    }
}

/// Sends what one socket did not take at once.
pub(super) async fn flush(core: SharedCore, at: usize, room: Rc<Notify>) {
    let (socket, blocked) = (core.borrow().socket(at), core.borrow().blocked(at));
    loop {
        blocked.notified().await;
        while !core.borrow_mut().flush_outlet(at) {
            if let Err(error) = socket.writable().await {
                core.borrow().report_socket_failure(&error);
                return;
            }
        }
        // What waited for room in the queue goes on.
        core.borrow_mut().turn(Instant::now());
        room.notify_one();
    }
}

/// Runs timers when they are due and streams when they have made work.
pub(super) async fn turn(core: SharedCore, rearm: Rc<Notify>) {
    let stack = core.borrow().stack();
    loop {
        let due = core.borrow_mut().arm();
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            () = stack.work() => {}
            () = rearm.notified() => {}
        }
        core.borrow_mut().turn(Instant::now());
    }
}
