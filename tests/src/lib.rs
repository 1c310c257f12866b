//! outrigger-tests
