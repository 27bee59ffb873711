//! An image for a test.

/// A file that goes with its owner.
pub(crate) struct TempFile(pub(crate) String);

impl TempFile {
    pub(crate) fn new(name: &str, bytes: &[u8]) -> TempFile {
        let path = format!("{}/block-test-{}-{name}", std::env::temp_dir().display(), std::process::id());
        std::fs::write(&path, bytes).unwrap();
        TempFile(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
