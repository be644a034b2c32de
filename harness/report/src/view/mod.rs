//! What a report says, before it is any format: the rows of its table, its sentences, and values as people read them.
//!
//! Owns the words that all renderers share; no renderer needs another one. Must not know escaping, colours or layout.

pub(crate) mod admission;
pub(crate) mod advice;
mod clients;
mod rows;
mod server;
pub(crate) mod story;
pub(crate) mod table;
pub(crate) mod words;
