//! Thresholds and the verdict. Pure.
