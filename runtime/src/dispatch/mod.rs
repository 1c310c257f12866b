//! Dispatch: which records may begin now.
//!
//! In: decoded records with what their routes claim, word of each that is
//! settled, and failed attempts with the time of the next one. Out: the records
//! whose turn it is.

pub mod backoff;
pub mod breaker;
pub mod lanes;
pub mod retry_queue;
