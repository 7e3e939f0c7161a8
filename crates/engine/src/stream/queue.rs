//! The queue of a writer: items and bytes are bounded, so that a slow writer holds its readers back long before the whole
//! budget for memory waits for it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use towpath_core::{Error, Result};

use super::Item;
use crate::memory::Lease;

/// Items that wait: enough for many small batches to be joined.
const ITEMS: usize = 128;
/// KiB that wait: enough to keep a writer busy until its readers bring more.
const KIB: u32 = 8 << 10;

/// Where readers put rows.
#[derive(Clone)]
pub(super) struct Sender {
    items: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
}

/// What rows hold from decoded to written: memory of the run, and room in the queue of their writer.
pub(super) struct Held {
    lease: Lease,
    room: OwnedSemaphorePermit,
}

impl Held {
    /// What both hold.
    pub(super) fn merge(&mut self, other: Self) {
        self.lease.merge(other.lease);
        self.room.merge(other.room);
    }

    /// Gives back what is more than so many bytes.
    pub(super) fn shrink(&mut self, bytes: usize) {
        self.lease.shrink(bytes);
        let rest = self.room.num_permits().saturating_sub(kib(bytes) as usize);
        drop(self.room.split(rest));
    }
}

/// A queue for one writer.
pub(super) fn queue() -> (Sender, mpsc::Receiver<Item>) {
    let (items, receiver) = mpsc::channel(ITEMS);
    (Sender { items, room: Arc::new(Semaphore::new(KIB as usize)) }, receiver)
}

impl Sender {
    /// Waits until the queue has room for so many bytes. What is larger than the queue waits for all of it.
    pub(super) async fn hold(&self, lease: Lease, bytes: usize) -> Result<Held> {
        let room = self.room.clone().acquire_many_owned(kib(bytes)).await.map_err(|_| Error::cancelled())?;
        Ok(Held { lease, room })
    }

    /// Hands an item over. A writer is gone only when the stream is ending with an error of its own.
    pub(super) async fn send(&self, item: Item) -> Result<()> {
        self.items.send(item).await.map_err(|_| Error::cancelled())
    }
}

/// What bytes take of the room.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(KIB).min(KIB)
}
