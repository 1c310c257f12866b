//! What a compiled module is looked up by.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

use super::precompile;
use crate::digest::hex;

/// The layout of an entry; a new one makes every older entry one that is never looked for.
const FORMAT: u32 = 1;

/// A module and the engine that its compiled form is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// SHA-256 of the module's file.
    pub module: [u8; 32],
    /// See [`fingerprint`].
    pub engine: [u8; 32],
}

impl Key {
    /// The key of the module with this digest, compiled for this engine.
    pub fn new(module: [u8; 32], engine: &wasmtime::Engine) -> Key {
        Key { module, engine: fingerprint(engine) }
    }

    /// The name of the entry. The module's whole digest stands in it, so that a person
    /// finds it with `sha256sum`; the engine's is cut short, and whole in the entry.
    pub fn file_name(&self) -> String {
        format!("{}-{}{SUFFIX}", hex(&self.module), hex(&self.engine[..8]))
    }
}

/// What the names of entries end with.
pub const SUFFIX: &str = ".compiled";

/// SHA-256 over all that decides whether an engine can run what another one compiled:
/// wasmtime's version, its settings, the machine's kind and the processor's features, and
/// what is made of a module before wasmtime compiles it.
pub fn fingerprint(engine: &wasmtime::Engine) -> [u8; 32] {
    let mut digest = Sink(Sha256::new());
    FORMAT.hash(&mut digest);
    precompile::VERSION.hash(&mut digest);
    engine.precompile_compatibility_hash().hash(&mut digest);
    digest.0.finalize().into()
}

/// wasmtime gives what is to be compared as a `Hash`. The standard library's 64 bits are
/// too few for a name under which machine code is found, and not the same in every build.
struct Sink(Sha256);

impl Hasher for Sink {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = <[u8; 32]>::from(self.0.clone().finalize());
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::{Config, Engine};

    use super::*;

    #[test]
    fn another_module_or_another_engine_is_another_key() {
        let plain = Engine::default();
        let mut config = Config::new();
        config.epoch_interruption(true);
        let other = Engine::new(&config).unwrap();
        let key = Key::new([7; 32], &plain);
        assert_eq!(key, Key::new([7; 32], &Engine::default()), "the same in every engine of one kind");
        assert_ne!(key.engine, Key::new([7; 32], &other).engine);
        assert_ne!(key.file_name(), Key::new([8; 32], &plain).file_name());
        assert_ne!(key.file_name(), Key::new([7; 32], &other).file_name());
        assert!(key.file_name().starts_with(&"07".repeat(32)), "{}", key.file_name());
    }
}
