//! What several guests of the tests share: how they are told what to do, and reaching
//! for what no guest may have.

mod order;
pub mod powers;

pub use order::Order;
