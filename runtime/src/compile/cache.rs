//! Compiled modules on disk, found by what they were made from.
//!
//! Safe with several processes at once: an entry is put in its place whole, two that
//! write the same one write the same, and one that is removed while it is read is read
//! to its end.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::entry::{self, Damage, HEAD};
use super::folder::{Folder, FolderError, Item, TEMPORARY};
use super::key::{Key, SUFFIX};

/// Writing takes less than a second: a file that is still temporary after this was left
/// behind by a process that was killed.
const STALE: Duration = Duration::from_secs(600);

/// A folder of compiled modules and how large it may grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Where.
    pub folder: PathBuf,
    /// Bytes of all entries together.
    pub max_bytes: u64,
}

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// An artefact whose digest was compared.
    Artefact(Vec<u8>),
    /// Nothing.
    Nothing,
    /// Something that must not be used.
    Damaged(Damage),
}

/// Why an artefact was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder is not usable.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It alone is more than the cache may hold.
    #[error("it has {size} bytes and the cache may hold {max}")]
    TooLarge {
        /// Of the entry.
        size: u64,
        /// Of the cache.
        max: u64,
    },
    /// The system refuses: a full disk, a folder that is read only.
    #[error("{} cannot be written: {error}", path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Cache {
    /// Looks for an artefact. One that is found counts as used now.
    ///
    /// # Errors
    /// The folder is not usable. One that is not there is an empty one.
    pub fn get(&self, key: &Key) -> Result<Found, FolderError> {
        let Some(folder) = Folder::open(&self.folder, false)? else { return Ok(Found::Nothing) };
        Ok(match folder.read(&key.file_name()) {
            Ok(None) => Found::Nothing,
            Ok(Some((file, length))) => match entry::read(&file, length, key) {
                Ok(artefact) => {
                    Folder::touch(&file);
                    Found::Artefact(artefact)
                }
                Err(damage) => Found::Damaged(damage),
            },
            Err(damage) => Found::Damaged(damage),
        })
    }

    /// Stores an artefact in the place of whatever is there, then removes what was not
    /// used for longest until all entries fit, and what killed processes left behind.
    ///
    /// # Errors
    /// See [`StoreError`]; a removal that fails is none.
    pub fn put(&self, key: &Key, artefact: &[u8]) -> Result<(), StoreError> {
        let size = entry_size(artefact.len());
        if size > self.max_bytes {
            return Err(StoreError::TooLarge { size, max: self.max_bytes });
        }
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let folder = Folder::open(&self.folder, true)?;
        let failed = |error| StoreError::Write { path: self.folder.clone(), error };
        let folder = folder.ok_or_else(|| failed(missing()))?;
        let name = key.file_name();
        let head = entry::head(key, artefact);
        let mut written = folder.write(&name, &[&head, artefact]);
        if written.as_ref().is_err_and(is_full) {
            // A volume smaller than the bound, with what was used by builds before.
            self.tidy(&folder, &name, self.held(&folder).saturating_sub(size));
            written = folder.write(&name, &[&head, artefact]);
        }
        written.map_err(failed)?;
        self.tidy(&folder, &name, self.max_bytes);
        Ok(())
    }

    /// Makes the folder where it is missing, and looks whether it may be used.
    ///
    /// # Errors
    /// It cannot be made, or is refused.
    pub fn prepare(&self) -> Result<(), FolderError> {
        Folder::open(&self.folder, true).map(drop)
    }

    fn tidy(&self, folder: &Folder, keep: &str, max_bytes: u64) {
        for name in superfluous(items(folder), keep, max_bytes, SystemTime::now()) {
            folder.remove(&name);
        }
    }

    /// Bytes of all entries.
    fn held(&self, folder: &Folder) -> u64 {
        items(folder).iter().filter(|item| item.name.ends_with(SUFFIX)).map(|item| item.size).sum()
    }
}

/// Bytes that a compiled form of so many takes in a cache.
pub fn entry_size(artefact: usize) -> u64 {
    (artefact + HEAD) as u64
}

fn items(folder: &Folder) -> Vec<Item> {
    folder.list().unwrap_or_else(|error| {
        tracing::debug!(%error, folder = %folder.path().display(), "the cache cannot be listed");
        Vec::new()
    })
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The names to remove: what is temporary and old, and of the entries those that were not
/// used for longest until the rest fits. Files of other names are somebody else's.
fn superfluous(mut items: Vec<Item>, keep: &str, max_bytes: u64, now: SystemTime) -> Vec<String> {
    let mut names = Vec::new();
    let is_old = |item: &Item| now.duration_since(item.used).is_ok_and(|age| age > STALE);
    names.extend(items.extract_if(.., |item| item.name.starts_with(TEMPORARY)).filter(is_old).map(|item| item.name));
    items.retain(|item| item.name.ends_with(SUFFIX));
    let mut total = items.iter().map(|item| item.size).sum::<u64>();
    items.sort_by_key(|item| item.used);
    for item in items {
        if total <= max_bytes {
            break;
        }
        if item.name != keep {
            total -= item.size;
            names.push(item.name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, size: u64, seconds_ago: u64) -> Item {
        Item { name: name.to_owned(), size, used: now() - Duration::from_secs(seconds_ago) }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    #[test]
    fn the_least_recently_used_go_first_and_the_newest_never() {
        let items = || vec![item("a.compiled", 40, 10), item("b.compiled", 40, 30), item("c.compiled", 40, 20)];
        assert_eq!(superfluous(items(), "a.compiled", 120, now()), [""; 0]);
        assert_eq!(superfluous(items(), "a.compiled", 119, now()), ["b.compiled"]);
        assert_eq!(superfluous(items(), "a.compiled", 79, now()), ["b.compiled", "c.compiled"]);
        assert_eq!(
            superfluous(items(), "b.compiled", 79, now()),
            ["c.compiled", "a.compiled"],
            "what was just stored stays"
        );
    }

    #[test]
    fn what_is_somebody_elses_stays_and_what_was_left_behind_goes() {
        let items = vec![
            item("notes.txt", 1000, 99),
            item(".tmp-1-2", 10, 601),
            item(".tmp-1-3", 10, 599),
            Item { used: now() + STALE * 2, ..item(".tmp-1-4", 10, 0) },
        ];
        assert_eq!(superfluous(items, "a.compiled", 1, now()), [".tmp-1-2"]);
    }
}
