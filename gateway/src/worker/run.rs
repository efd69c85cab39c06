//! One worker's thread, from its runtime to its last connection.

use std::{cell::RefCell, net::TcpListener as StdListener, rc::Rc, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::mpsc, task::LocalSet, time::timeout};

use super::{
    connection::CLOSE_MS,
    deliver::{Messages, Turn},
    life::Worker,
    listen,
    message::{Command, Message},
    shared::Shared,
    tick,
};

/// Messages that are looked at together.
const BATCH: usize = 512;

/// How often a worker that ends looks whether everybody is gone.
const LOOK: Duration = Duration::from_millis(10);

/// Works until it is told to stop, and until everybody is gone then.
pub fn work(
    index: usize,
    shared: Arc<Shared>,
    listener: StdListener,
    mut inbox: mpsc::Receiver<Message>,
) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    let worker = Rc::new(RefCell::new(Worker::new(index, Arc::clone(&shared))));
    LocalSet::new().block_on(&runtime, async move {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        tokio::task::spawn_local(tick::clock(Rc::clone(&worker)));
        tokio::task::spawn_local(listen::accept(Rc::clone(&worker), shared, listener));
        let mut batch = Vec::new();
        while inbox.recv_many(&mut batch, BATCH).await > 0 {
            let is_last = batch.iter().any(|it| matches!(it, Message::Command(Command::Stop)));
            let mut messages = batch.drain(..).peekable();
            while turn(&worker, &mut messages) == Turn::Over {
                // The sockets and the clock come between.
                tokio::task::yield_now().await;
            }
            if is_last {
                // The close frames go out before the process ends.
                let _ = timeout(Duration::from_millis(CLOSE_MS), gone(&worker)).await;
                return;
            }
        }
    });
}

fn turn(worker: &Rc<RefCell<Worker>>, messages: &mut Messages<'_>) -> Turn {
    let mut worker = worker.borrow_mut();
    worker.wake();
    worker.handle(messages)
}

async fn gone(worker: &Rc<RefCell<Worker>>) {
    while !worker.borrow().connections.is_empty() {
        tokio::time::sleep(LOOK).await;
    }
}
