//! Preflight checks: what this machine allows, each finding with its fix.
