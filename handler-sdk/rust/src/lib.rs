//! outrigger-handler
