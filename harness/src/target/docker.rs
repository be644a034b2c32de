//! The `docker` target.
