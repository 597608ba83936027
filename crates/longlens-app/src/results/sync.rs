//! Lines go down to the disk while the next sample is computed.
//!
//! What a process has written survives its death by itself; to survive that of the machine it has to be on the disk, which takes
//! milliseconds. A thread asks for that after every line, once for all lines that came meanwhile.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Asks the system to put a file's bytes on the disk, in the background.
pub struct Syncing {
    written: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl Syncing {
    /// Of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (written, lines) = channel();
        let failed: Arc<Mutex<Option<io::Error>>> = Arc::default();
        let tells = failed.clone();
        let thread = std::thread::Builder::new().name("sync".to_owned()).spawn(move || {
            while lines.recv().is_ok() {
                while lines.try_recv().is_ok() {}
                if let Err(error) = file.sync_data() {
                    tells.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        })?;
        Ok(Self { written: Some(written), thread: Some(thread), failed })
    }

    /// A line was written. An error is that of an earlier one, which may not have reached the disk.
    pub fn written(&self) -> io::Result<()> {
        if let Some(error) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        if let Some(written) = &self.written {
            let _ = written.send(()); // the thread ends with this alone
        }
        Ok(())
    }
}

impl Syncing {
    /// Waits until all is on the disk. Lines that are written later are not synced any more.
    pub fn finish(&mut self) -> io::Result<()> {
        self.written = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

/// Waits until all is on the disk.
impl Drop for Syncing {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}
