//! The questions behind `vmsgate sessions`, `flows` and `denials`.
