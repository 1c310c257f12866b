//! Hints that files have changed. Folders are watched, not files: a file that is
//! replaced by a rename is another one, and a ConfigMap replaces a link beside it.
//!
//! A hint says no more than that something happened in a folder. What it was does
//! not matter, since contents are compared: so nothing is made of the events'
//! kinds and names, which differ from system to system.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Watches folders.
pub(super) struct Watch {
    /// `None`: the system watches nothing for us, and the poll has to do.
    watcher: Option<RecommendedWatcher>,
    /// With which folder stood under the name as it was begun to be watched.
    folders: BTreeMap<PathBuf, (u64, u64)>,
}

impl Watch {
    /// Watches nothing yet. `hint` is called on a thread of the watcher.
    pub fn new(hint: impl Fn() -> bool + Send + 'static) -> Watch {
        let seen = move |event: notify::Result<notify::Event>| {
            // What this process reads itself is no change.
            let only_read =
                |kind| matches!(kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
            if !event.is_ok_and(|event| only_read(event.kind)) {
                hint();
            }
        };
        let watcher = notify::recommended_watcher(seen).inspect_err(|error| {
            tracing::warn!(%error, "files cannot be watched; they are looked at every few seconds");
        });
        Watch { watcher: watcher.ok(), folders: BTreeMap::new() }
    }

    /// Watches the folders of these files from now on, and no others. A folder that
    /// cannot be watched is tried again at the next call.
    pub fn folders_of<'a>(&mut self, files: impl Iterator<Item = &'a PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<PathBuf> = files.map(|file| folder_of(file)).collect();
        self.folders.retain(|folder, which| {
            // One that was replaced is not watched by the name that it had.
            let keep = wanted.contains(folder) && identity(folder) == Some(*which);
            if !keep {
                // It may be gone already.
                _ = watcher.unwatch(folder);
            }
            keep
        });
        for folder in wanted {
            if self.folders.contains_key(&folder) {
                continue;
            }
            // Looked at before: one that is replaced in between is watched again at the next call.
            let Some(which) = identity(&folder) else { continue };
            if watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok() {
                self.folders.insert(folder, which);
            }
        }
    }
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(folder).ok().filter(Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino()))
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    #[allow(clippy::disallowed_methods, reason = "hints are to be counted, and a test ends")]
    fn watch(files: &[PathBuf]) -> (Watch, Receiver<()>) {
        let (sender, hints) = channel();
        let mut watch = Watch::new(move || sender.send(()).is_ok());
        watch.folders_of(files.iter());
        (watch, hints)
    }

    fn hinted(hints: &Receiver<()>) -> bool {
        let hinted = hints.recv_timeout(Duration::from_secs(5)).is_ok();
        while hints.recv_timeout(Duration::from_millis(50)).is_ok() {}
        hinted
    }

    #[test]
    fn every_way_to_replace_a_file_is_noticed_and_reading_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("m.wasm"), folder.path().join("other"));
        std::fs::write(&file, "one").unwrap();
        let (_watch, hints) = watch(std::slice::from_ref(&file));
        std::fs::write(&file, "two").unwrap();
        assert!(hinted(&hints), "written");
        std::fs::write(&other, "three").unwrap();
        assert!(hinted(&hints));
        std::fs::rename(&other, &file).unwrap();
        assert!(hinted(&hints), "renamed");
        std::fs::read(&file).unwrap();
        assert!(hints.recv_timeout(Duration::from_millis(100)).is_err(), "read");
        std::fs::remove_file(&file).unwrap();
        assert!(hinted(&hints), "deleted");
    }

    #[test]
    fn a_folder_that_is_replaced_is_watched_again() {
        let outer = tempfile::tempdir().unwrap();
        let (folder, old) = (outer.path().join("current"), outer.path().join("old"));
        let file = folder.join("m.wasm");
        std::fs::create_dir(&folder).unwrap();
        let (mut watch, hints) = watch(std::slice::from_ref(&file));
        std::fs::rename(&folder, &old).unwrap();
        std::fs::create_dir(&folder).unwrap();
        // As every look at the files does.
        watch.folders_of(std::iter::once(&file));
        hinted(&hints);
        std::fs::write(&file, "one").unwrap();
        assert!(hinted(&hints), "written");
    }
}
