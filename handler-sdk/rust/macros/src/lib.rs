//! outrigger-handler-macros
