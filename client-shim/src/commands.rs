//! One file per subcommand.

pub mod hosts;
pub mod status;
pub mod up;

mod display;
mod tables;
