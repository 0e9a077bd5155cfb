//! One file per subcommand.

pub mod enroll;
pub mod hosts;
pub mod rotate;
pub mod status;
pub mod up;

mod display;
mod keys;
mod tables;
