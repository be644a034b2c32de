//! Pacing × strategy × stop rule over N tasks.
