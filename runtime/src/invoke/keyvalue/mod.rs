//! `wasi:keyvalue`: a store in memory, one for each handler on each worker.
//!
//! What is written is there for later events of the same worker, whichever
//! instance handles them. It is lost at a restart and when a new version of the
//! handler takes over, it does not follow a partition that moves, and an attempt
//! that fails has written what it has written.

mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use super::guest::Guest;
use crate::manifest::KeyValue;
use bindings::wasi::keyvalue::{atomics, batch, store as interface};
use store::{Refused, Store};

#[allow(missing_docs, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/deps/keyvalue",
        world: "wasi:keyvalue/imports",
        imports: { default: trappable },
        with: { "wasi:keyvalue/store.bucket": super::Bucket },
        trappable_error_type: { "wasi:keyvalue/store.error" => super::Error },
    });
}

/// The names under which a guest opens its one store.
const NAMES: [&str; 2] = ["", "default"];

/// A store that the instances of one worker share. Locked for one operation at
/// a time, by one thread: nobody ever waits for it.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Store>>);

impl Shared {
    /// An empty one.
    pub(super) fn new(bounds: KeyValue) -> Shared {
        Shared(Arc::new(Mutex::new(Store::new(bounds))))
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open store. There is only one, so it holds nothing.
pub struct Bucket;

/// What a guest is told.
pub enum Error {
    /// There is no store of this name, or none at all.
    NoSuchStore,
    /// A bound, or a value that does not fit.
    Other(String),
    /// A handle that is none: the guest's mistake, and a trap.
    Trap(wasmtime::Error),
}

impl From<wasmtime::component::ResourceTableError> for Error {
    fn from(error: wasmtime::component::ResourceTableError) -> Error {
        match error {
            wasmtime::component::ResourceTableError::Full => Error::Other("too many open handles".to_owned()),
            other => Error::Trap(other.into()),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::Other(refused.to_string())
    }
}

/// A guest's view of its store.
pub(super) struct View<'a> {
    pub store: Option<&'a Shared>,
    pub table: &'a mut ResourceTable,
}

struct HasView;

impl HasData for HasView {
    type Data<'a> = View<'a>;
}

/// Adds the interfaces to a linker.
///
/// # Errors
/// Only a conflict of names, which would be a mistake of the host.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    interface::add_to_linker::<_, HasView>(linker, Guest::key_value)?;
    atomics::add_to_linker::<_, HasView>(linker, Guest::key_value)?;
    batch::add_to_linker::<_, HasView>(linker, Guest::key_value)
}

impl View<'_> {
    /// The store behind a handle.
    fn of(&self, bucket: &Resource<Bucket>) -> Result<MutexGuard<'_, Store>, Error> {
        self.table.get(bucket)?;
        Ok(self.store.ok_or(Error::NoSuchStore)?.store())
    }
}

impl interface::Host for View<'_> {
    fn open(&mut self, identifier: String) -> Result<Resource<Bucket>, Error> {
        if self.store.is_none() || !NAMES.contains(&identifier.as_str()) {
            return Err(Error::NoSuchStore);
        }
        Ok(self.table.push(Bucket)?)
    }

    fn convert_error(&mut self, error: Error) -> wasmtime::Result<interface::Error> {
        match error {
            Error::NoSuchStore => Ok(interface::Error::NoSuchStore),
            Error::Other(why) => Ok(interface::Error::Other(why)),
            Error::Trap(error) => Err(error),
        }
    }
}

impl interface::HostBucket for View<'_> {
    fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.of(&bucket)?.get(&key))
    }

    fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Result<(), Error> {
        Ok(self.of(&bucket)?.set(&key, value)?)
    }

    fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Result<(), Error> {
        self.of(&bucket)?.delete(&key);
        Ok(())
    }

    fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Result<bool, Error> {
        Ok(self.of(&bucket)?.contains(&key))
    }

    fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Result<interface::KeyResponse, Error> {
        let (keys, cursor) = self.of(&bucket)?.list(cursor);
        Ok(interface::KeyResponse { keys, cursor })
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for View<'_> {
    fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Result<u64, Error> {
        Ok(self.of(&bucket)?.increment(&key, delta)?)
    }
}

impl batch::Host for View<'_> {
    fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Error> {
        let store = self.of(&bucket)?;
        // A key that is asked for a thousand times is copied a thousand times:
        // what goes out is bounded by the store's own size, whatever is asked for.
        let bound = store.bytes_bound();
        let (mut found, mut bytes) = (Vec::with_capacity(keys.len()), 0_usize);
        for key in keys {
            let value = store.get(&key);
            bytes = bytes.saturating_add(value.as_ref().map_or(0, Vec::len)).saturating_add(key.len());
            if bytes > bound {
                return Err(Error::Other("more is asked for at once than the store may hold".to_owned()));
            }
            found.push(value.map(|value| (key, value)));
        }
        Ok(found)
    }

    fn set_many(&mut self, bucket: Resource<Bucket>, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        let mut store = self.of(&bucket)?;
        for (key, value) in pairs {
            store.set(&key, value)?;
        }
        Ok(())
    }

    fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Result<(), Error> {
        let mut store = self.of(&bucket)?;
        keys.iter().for_each(|key| store.delete(key));
        Ok(())
    }
}
