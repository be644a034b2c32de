//! The `external` target.
