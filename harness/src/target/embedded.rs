//! The `embedded` target.
