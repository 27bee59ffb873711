//! Taking a machine back to a snapshot.
//!
//! Two ways. [`Machine::restore`] takes up any snapshot: memory becomes that of the image at once, and its pages come
//! when they are touched. [`Machine::rewind`] goes back to the snapshot that was taken or taken up last: since
//! [`Machine::mark`] the memory has kept a bitmap of what has been written, and only those pages are copied.

use std::sync::Arc;
use std::thread;

use base::{Result, error};
use memory::{DirtyClient, Ram};

use crate::image::Image;
use crate::machine::Machine;
use crate::page::PAGE;
use crate::pages::write_page;

impl Machine {
    /// Takes up a snapshot. The machine stands still, and must not run after an error.
    ///
    /// # Errors
    /// It is of another machine, or damaged.
    pub fn restore(&self, image: &Arc<Image>) -> Result<()> {
        self.origin.check(&image.origin)?;
        // Read before anything is changed.
        let state = image.state()?;
        for (n, block) in self.blocks.iter().enumerate() {
            block.ram.replace(image.source(n), |page| image.is_zero(n, page));
        }
        self.load(&state)?;
        self.fill();
        Ok(())
    }

    /// Goes back to the snapshot since which [`Machine::mark`] keeps its bitmaps. The machine stands still.
    ///
    /// # Errors
    /// The snapshot cannot be read: the machine must not run.
    pub fn rewind(&self, image: &Image) -> Result<()> {
        let state = image.state()?;
        let mut page = [0; PAGE];
        for (n, block) in self.blocks.iter().enumerate() {
            for offset in block.ram.take_dirty(DirtyClient::Snapshot, 0, block.ram.len()) {
                let number = offset / PAGE as u64;
                image.page(n, number, &mut page).map_err(|e| error!("the snapshot cannot be read: {e}"))?;
                write_page(&block.ram, number as u32, &page);
            }
            // The copying itself has been noted too.
            block.ram.take_dirty(DirtyClient::Snapshot, 0, block.ram.len());
        }
        self.load(&state)
    }

    /// From now on memory keeps a bitmap of what is written.
    pub fn mark(&self) {
        for block in &self.blocks {
            block.ram.log_dirty(DirtyClient::Snapshot, true);
            block.ram.take_dirty(DirtyClient::Snapshot, 0, block.ram.len());
        }
        self.forget_translations();
    }

    /// The bitmaps are not needed any more.
    pub fn unmark(&self) {
        self.blocks.iter().for_each(|block| block.ram.log_dirty(DirtyClient::Snapshot, false));
    }

    /// Brings the pages that nobody has touched yet, beside the guest.
    fn fill(&self) {
        let rams: Vec<Arc<Ram>> = self.blocks.iter().map(|block| block.ram.clone()).collect();
        let work = move || rams.iter().for_each(|ram| ram.complete());
        // Without the thread they come when they are touched.
        let _ = thread::Builder::new().name("snapshot".to_owned()).spawn(work);
    }
}
