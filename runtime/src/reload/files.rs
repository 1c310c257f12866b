//! The modules' files: which content they have, without reading them each time.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::digest::{self, hex};
use crate::invoke::{LoadError, examine};

/// A file that was changed less than this ago may be changed again without a trace in
/// its times, which the system counts in ticks of some milliseconds.
const RACY: Duration = Duration::from_millis(100);

/// What says that a file is still the one that was read. Links are followed, so that
/// a folder that is replaced as a whole (a ConfigMap's `..data`) shows too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_older_than(&self, age: Duration) -> bool {
        let seconds = Duration::from_secs(self.changed.0.try_into().unwrap_or_default());
        let changed = UNIX_EPOCH + seconds + Duration::from_nanos(self.changed.1.try_into().unwrap_or_default());
        SystemTime::now().duration_since(changed).is_ok_and(|since| since > age)
    }
}

/// Digests by path, of those that were asked for last.
#[derive(Debug, Default)]
pub(super) struct Files {
    known: HashMap<PathBuf, (Stamp, String)>,
}

impl Files {
    /// The SHA-256 of each file in hexadecimal, or why there is none: what loading a module
    /// of at most `largest` bytes would say. Reads those that may have changed since the last time.
    pub fn digests(&mut self, paths: &[PathBuf], largest: u64) -> BTreeMap<PathBuf, Result<String, String>> {
        self.known.retain(|path, _| paths.contains(path));
        let mut digest = |path| self.digest(path, largest).map_err(|error| error.to_string());
        paths.iter().map(|path| (path.clone(), digest(path))).collect()
    }

    fn digest(&mut self, path: &Path, largest: u64) -> Result<String, LoadError> {
        let stamp = Stamp::of(&examine(path, largest)?);
        if let Some((known, digest)) = self.known.get(path)
            && *known == stamp
        {
            return Ok(digest.clone());
        }
        self.known.remove(path);
        let read = || -> std::io::Result<(Stamp, [u8; 32])> {
            let file = File::open(path)?;
            // Of the file that is read: another may have come to its name.
            let stamp = Stamp::of(&file.metadata()?);
            // What it grows by from now on shows at the next look.
            Ok((stamp, digest::of_reader(file.take(largest))?))
        };
        let (stamp, digest) = read().map_err(|error| LoadError::Read { path: path.to_owned(), error })?;
        let digest = hex(&digest);
        if stamp.is_older_than(RACY) {
            self.known.insert(path.to_owned(), (stamp, digest.clone()));
        }
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoke::{Engine, Sizing};

    const LARGEST: u64 = 1 << 20;

    fn digest(files: &mut Files, path: &Path) -> Result<String, String> {
        digest_up_to(LARGEST, files, path)
    }

    fn digest_up_to(largest: u64, files: &mut Files, path: &Path) -> Result<String, String> {
        files.digests(&[path.to_owned()], largest).remove(path).unwrap()
    }

    #[test]
    fn what_is_replaced_in_any_way_shows() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("m.wasm"), folder.path().join("other"));
        let mut files = Files::default();
        assert!(digest(&mut files, &path).unwrap_err().contains("cannot read"));
        std::fs::write(&path, b"one").unwrap();
        let one = digest(&mut files, &path).unwrap();
        assert_eq!(one.len(), 64);
        assert_eq!(digest(&mut files, &path).unwrap(), one);
        // In place, with the same size.
        std::fs::write(&path, b"two").unwrap();
        let two = digest(&mut files, &path).unwrap();
        assert_ne!(two, one);
        // By a rename.
        std::fs::write(&other, b"one").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(digest(&mut files, &path).unwrap(), one);
    }

    #[test]
    fn a_folder_behind_a_link_is_swapped() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (data, text) in [("a", "one"), ("b", "two")] {
            std::fs::create_dir(at(data)).unwrap();
            std::fs::write(at(data).join("m.wasm"), text).unwrap();
        }
        let link = |to: &str| {
            std::os::unix::fs::symlink(to, at("..tmp")).unwrap();
            std::fs::rename(at("..tmp"), at("..data")).unwrap();
        };
        link("a");
        std::os::unix::fs::symlink("..data/m.wasm", at("m.wasm")).unwrap();
        let mut files = Files::default();
        let one = digest(&mut files, &at("m.wasm")).unwrap();
        link("b");
        assert_ne!(digest(&mut files, &at("m.wasm")).unwrap(), one);
    }

    #[test]
    fn what_is_no_module_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::default();
        assert!(digest(&mut files, folder.path()).unwrap_err().contains("not a file"));
        let large = folder.path().join("large");
        File::create(&large).unwrap().set_len(LARGEST).unwrap();
        digest(&mut files, &large).unwrap();
        File::create(&large).unwrap().set_len(LARGEST + 1).unwrap();
        let refused = digest(&mut files, &large).unwrap_err();
        assert!(refused.ends_with("it has 1048577 bytes, and `compile.moduleSize` is 1MiB"), "{refused}");
    }

    #[test]
    fn the_bound_counts_that_is_asked_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.wasm");
        File::create(&path).unwrap().set_len(LARGEST).unwrap();
        // As if it had been read long ago.
        let stamp = Stamp::of(&std::fs::metadata(&path).unwrap());
        let mut files = Files { known: HashMap::from([(path.clone(), (stamp, "known".to_owned()))]) };
        assert_eq!(digest(&mut files, &path).unwrap(), "known");
        digest_up_to(LARGEST - 1, &mut files, &path).unwrap_err();
        assert_eq!(digest_up_to(LARGEST + 1, &mut files, &path).unwrap(), "known");
    }

    /// What is refused here would be refused by loading, in the same words, and nothing else is.
    #[test]
    fn loading_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        File::create(at("large")).unwrap().set_len(LARGEST + 1).unwrap();
        File::create(at("fits")).unwrap().set_len(LARGEST).unwrap();
        let engine = Engine::new(Sizing { instances: 1 }).unwrap();
        engine.set_module_size(LARGEST);
        let loading = |path: &Path| engine.compile(path, None).err().unwrap();
        for path in [at("large"), at("missing"), folder.path().to_owned()] {
            assert_eq!(digest(&mut Files::default(), &path).unwrap_err(), loading(&path).to_string());
        }
        digest(&mut Files::default(), &at("fits")).unwrap();
        assert!(matches!(loading(&at("fits")), LoadError::NotWebAssembly(_)));
    }
}
