//! Commands for data on their way: from a submission queue to a worker thread of the drive, and to their answer.

use std::sync::Arc;

use backends::block::{BlockDevice, BlockQueue};
use memory::Dma;
use object::DeviceCell;

use super::queues::Command;
use super::{GATE, Nvme, io, status};
use crate::virtio::blk_request::Gate;

/// A command that has been taken.
struct Task {
    job: io::Job,
    /// The namespace whose drive does it.
    namespace: u32,
    /// Drives to be flushed, too.
    others: Vec<Arc<BlockQueue>>,
    dma: Dma,
    gate: Arc<Gate>,
    epoch: u64,
    page: u64,
    queue: usize,
    generation: u64,
    id: u16,
}

impl Task {
    /// Performs it; the status, or nothing if the controller has been reset.
    fn perform(&self, drive: &dyn BlockDevice) -> Option<u16> {
        let pass = io::Pass { dma: &self.dma, gate: &self.gate, queue: GATE, epoch: self.epoch };
        let status = self.job.perform(drive, &pass, self.page)?;
        let failed = self.others.iter().any(|other| other.device().flush().is_err());
        Some(if failed { status::WRITE_FAULT } else { status })
    }

    /// Whether the machine stops for an error of this: it is to be tried once more when the machine goes on.
    fn is_held(&self, drive: &dyn BlockDevice) -> bool {
        drive.holds() || self.others.iter().any(|other| other.device().holds())
    }
}

impl Nvme {
    /// There are commands in a queue: those of the administrator are carried out, for others a worker is woken unless one
    /// is at work there, which will find them.
    pub(super) fn wake(&mut self, queue: usize) {
        if queue == 0 {
            self.take_commands();
        } else if self.servers.get(queue) == Some(&0) {
            self.call_worker(queue);
        }
    }

    /// One more worker of the first drive comes to take commands from a queue.
    fn call_worker(&mut self, queue: usize) {
        let Some((&home, namespace)) = self.namespaces.first_key_value() else {
            // Without any drive no command for data waits for one.
            while let Some(command) = self.fetch(queue) {
                self.complete(queue, command.id(), 0, status::INVALID_NAMESPACE);
            }
            return;
        };
        let most = namespace.store.device().at_once();
        let Some(servers) = self.servers.get_mut(queue).filter(|servers| **servers < most) else { return };
        *servers += 1;
        let (this, store) = (self.this.clone(), namespace.store.clone());
        store.run(move |drive| {
            if let Some(cell) = this.upgrade() {
                Self::serve(&cell, queue, home, drive);
            }
        });
    }

    /// Takes commands from a queue and performs them until there are none, on a worker thread of the drive of namespace
    /// `home`.
    fn serve(cell: &DeviceCell<Self>, queue: usize, home: u32, drive: &dyn BlockDevice) {
        let mut next = cell.with(|device| device.next(queue, home));
        while let Some(task) = next {
            let status = task.perform(drive);
            next = cell.with(|device| {
                if task.is_held(drive) {
                    device.leave(queue);
                    device.hand_over(task);
                    return None;
                }
                device.finish(&task, status);
                device.next(queue, home)
            });
        }
    }

    /// The next command of a queue for the drive of namespace `home`; those for other drives are handed to their workers.
    /// Without one the worker leaves.
    fn next(&mut self, queue: usize, home: u32) -> Option<Task> {
        while let Some(command) = self.fetch(queue) {
            match self.begin(queue, &command) {
                Err(status) => self.complete(queue, command.id(), 0, status),
                Ok(task) if task.namespace != home => self.hand_over(task),
                Ok(task) => {
                    if self.regs.submissions.get(queue).is_some_and(|q| q.waits() && !q.is_full()) {
                        self.call_worker(queue);
                    }
                    return Some(task);
                }
            }
        }
        self.leave(queue);
        None
    }

    /// One worker less takes commands from a queue.
    fn leave(&mut self, queue: usize) {
        if let Some(servers) = self.servers.get_mut(queue) {
            *servers = servers.saturating_sub(1);
        }
    }

    /// Has a worker of the drive perform a command that has been taken.
    fn hand_over(&self, task: Task) {
        let Some(namespace) = self.namespaces.get(&task.namespace) else { return };
        let this = self.this.clone();
        namespace.store.run(move |drive| {
            let status = task.perform(drive);
            if let Some(cell) = this.upgrade() {
                cell.with(|device| {
                    if task.is_held(drive) {
                        return device.hand_over(task);
                    }
                    device.finish(&task, status);
                    device.wake(task.queue);
                });
            }
        });
    }

    /// What is to be done for a command, or the status with which it fails.
    fn begin(&self, queue: usize, command: &Command) -> Result<Task, u16> {
        let dma = self.pci.dma().ok_or(status::INTERNAL)?;
        let all = command.namespace() == u32::MAX && command.opcode() == io::opcode::FLUSH;
        let mut named = self.namespaces.iter().filter(|(n, _)| all || **n == command.namespace());
        let (&number, namespace) = named.next().ok_or(status::INVALID_NAMESPACE)?;
        // Of a flush of all namespaces the first one's worker does the work.
        let others = named.map(|(_, namespace)| namespace.store.clone()).collect();
        let most = if self.mdts == 0 { u64::MAX } else { 0x1000 << self.mdts.min(20) };
        let write_through = !self.regs.write_cache;
        Ok(Task {
            job: io::Job::new(command, namespace.block, namespace.blocks(), most, write_through)?,
            namespace: number,
            others,
            dma,
            gate: self.gate.clone(),
            epoch: self.gate.epoch(GATE),
            page: self.page_size(),
            queue,
            generation: self.regs.submissions.get(queue).map_or(0, |q| q.generation),
            id: command.id(),
        })
    }

    /// A command has been performed. After a reset or the end of its queue nobody waits for it.
    fn finish(&mut self, task: &Task, status: Option<u16>) {
        let now = self.regs.submissions.get(task.queue).map(|q| q.generation);
        if let Some(status) = status
            && self.gate.epoch(GATE) == task.epoch
            && now == Some(task.generation)
        {
            self.complete(task.queue, task.id, 0, status);
        }
    }
}
