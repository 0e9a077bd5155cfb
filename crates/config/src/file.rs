//! The file as it is written: which sections and keys exist, what they say, and on which line.
//!
//! Reading is tolerant so that one run reports as much as it can: an unknown key or a bad value becomes a
//! finding, and reading goes on. What the values mean together is decided by [`crate::resolve`].

pub(crate) mod diagnostics;
pub(crate) mod document;
pub(crate) mod environment;
pub(crate) mod keys;
pub(crate) mod schema;
pub(crate) mod section;
pub(crate) mod units;
