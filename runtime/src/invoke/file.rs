//! A module's file: looked at by a reload, read by loading, and refused by both for the
//! same reasons.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use super::load::LoadError;
use crate::compile::CompileError;

/// Looks whether a module can be read: a file of at most `largest` bytes.
///
/// # Errors
/// [`LoadError::Read`], or [`LoadError::Compile`] with [`CompileError::TooLarge`].
pub(crate) fn examine(path: &Path, largest: u64) -> Result<Metadata, LoadError> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
    // A pipe, say, would be waited for.
    if !metadata.is_file() {
        return Err(unreadable(path, io::Error::other("it is not a file")));
    }
    bound(path, metadata.len(), largest)?;
    Ok(metadata)
}

/// Reads a module, whatever becomes of the file meanwhile: at most `largest` bytes, and one that
/// shows that there are more.
///
/// # Errors
/// As for [`examine`].
pub(super) fn read(path: &Path, largest: u64) -> Result<Vec<u8>, LoadError> {
    let expected = examine(path, largest)?.len();
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    let read = File::open(path).and_then(|file| file.take(largest.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(path, error))?;
    bound(path, bytes.len() as u64, largest)?;
    Ok(bytes)
}

fn unreadable(path: &Path, error: io::Error) -> LoadError {
    LoadError::Read { path: path.to_owned(), error }
}

fn bound(path: &Path, size: u64, limit: u64) -> Result<(), LoadError> {
    let too_large = || LoadError::Compile { path: path.to_owned(), error: CompileError::TooLarge { size, limit } };
    if size > limit { Err(too_large()) } else { Ok(()) }
}
