//! The cache's folder: opened once per use, checked, and then only reached through its
//! descriptor, so that nobody can put another one in its place between two steps.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW};

use super::entry::Damage;

/// What the names of files that are being written begin with.
pub const TEMPORARY: &str = ".tmp-";

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Others could put machine code of theirs into it.
    #[error("the cache folder {} is not used: {reason}", path.display())]
    Refused {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// It cannot be made or opened.
    #[error("the cache folder {} cannot be used: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// An open folder that belongs to this user, or to root, and that nobody else can write.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    open: OwnedFd,
}

/// A file in it.
#[derive(Debug)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// When it was written or used last.
    pub used: SystemTime,
}

impl Folder {
    /// Opens the folder; `None` where there is none. With `make`, one that is missing is
    /// made, and its parents, for this user alone.
    ///
    /// # Errors
    /// It belongs to somebody else, others can write it, it is a symbolic link or no
    /// folder, or the system refuses.
    pub fn open(path: &Path, make: bool) -> Result<Option<Folder>, FolderError> {
        let failed = |error| FolderError::Io { path: path.to_owned(), error };
        let refused = |reason| FolderError::Refused { path: path.to_owned(), reason };
        if make {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            Ok(open) => open,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
                return Err(refused("it is a symbolic link or no folder".to_owned()));
            }
            Err(error) => return Err(failed(error.into())),
        };
        let stat = rustix::fs::fstat(&open).map_err(|error| failed(error.into()))?;
        if let Some(wrong) = wrong_rights(&stat) {
            return Err(refused(format!("{wrong}; give it to the user that runs Outrigger, with mode 0700")));
        }
        Ok(Some(Folder { path: path.to_owned(), open }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file of it for reading, with its length; `None` where there is none.
    ///
    /// # Errors
    /// It is no regular file, belongs to somebody else, others can write it, or it cannot be opened.
    pub fn read(&self, name: &str) -> Result<Option<(File, u64)>, Damage> {
        // NONBLOCK: a named pipe would otherwise be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = match rustix::fs::openat(&self.open, name, flags, Mode::empty()) {
            Ok(open) => open,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP) => return Err(Damage::NotAFile),
            Err(error) => return Err(Damage::Read(error.into())),
        };
        let stat = rustix::fs::fstat(&open).map_err(|error| Damage::Read(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Damage::NotAFile);
        }
        if let Some(wrong) = wrong_rights(&stat) {
            return Err(Damage::Rights(wrong));
        }
        Ok(Some((File::from(open), stat.st_size.unsigned_abs())))
    }

    /// Says that a file was used now. What cannot be said is not: in a folder of an image,
    /// which is not written, nothing is removed either.
    pub fn touch(file: &File) {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let _ = rustix::fs::futimens(file, &Timestamps { last_access: now, last_modification: now });
    }

    /// Writes a file under a name of its own, then puts it in its place, so that every
    /// reader sees all of it or nothing. It is not synced: after a crash of the machine
    /// its digest tells whether all of it is there.
    ///
    /// # Errors
    /// What the system says. What was written is removed then.
    pub fn write(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let temporary = format!("{TEMPORARY}{}-{:016x}", std::process::id(), fastrand::u64(..));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(rustix::fs::openat(&self.open, &temporary, flags, mode)?);
        let written = parts.iter().try_for_each(|part| file.write_all(part));
        let moved = written.and_then(|()| Ok(rustix::fs::renameat(&self.open, &temporary, &self.open, name)?));
        if moved.is_err() {
            self.remove(&temporary);
        }
        moved
    }

    /// Removes a file. Another process may have done so already.
    pub fn remove(&self, name: &str) {
        let _ = rustix::fs::unlinkat(&self.open, name, AtFlags::empty());
    }

    /// The regular files in it. What vanishes meanwhile is left out.
    ///
    /// # Errors
    /// What the system says.
    pub fn list(&self) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        for found in Dir::read_from(&self.open)? {
            let found = found?;
            let Ok(stat) = rustix::fs::statat(&self.open, found.file_name(), AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let Ok(name) = found.file_name().to_str() else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                let used = SystemTime::UNIX_EPOCH
                    + Duration::new(
                        u64::try_from(stat.st_mtime).unwrap_or(0),
                        u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
                    );
                items.push(Item { name: name.to_owned(), size: stat.st_size.unsigned_abs(), used });
            }
        }
        Ok(items)
    }
}

/// What is wrong with the owner or the mode of a file or a folder, if anything. Root's is
/// taken too: an image's files are, and who is root here can do more than that. Others
/// may read: what is compiled is no more of a secret than the module.
fn wrong_rights(stat: &Stat) -> Option<String> {
    rights(stat.st_uid, stat.st_mode, rustix::process::geteuid().as_raw())
}

fn rights(owner: u32, mode: u32, user: u32) -> Option<String> {
    if owner != user && owner != 0 {
        return Some(format!("it belongs to user {owner}, and this process runs as user {user}"));
    }
    (mode & 0o022 != 0).then(|| format!("others than its owner can write it (mode {:04o})", mode & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_and_mode_decide() {
        assert_eq!(rights(1000, 0o40700, 1000), None);
        assert_eq!(rights(1000, 0o100600, 1000), None);
        assert_eq!(rights(0, 0o40755, 1000), None, "an image's");
        assert!(rights(1001, 0o40700, 1000).unwrap().contains("user 1001"));
        assert!(rights(1000, 0o40700, 0).unwrap().contains("user 1000"), "root trusts nobody else");
        for mode in [0o40770, 0o40707, 0o41777, 0o100620, 0o100602] {
            assert!(rights(1000, mode, 1000).unwrap().contains("can write"), "{mode:o}");
        }
    }
}
