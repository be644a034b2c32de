//! `RunReport` and its pure renderers.
