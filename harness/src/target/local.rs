//! The `local` target.
