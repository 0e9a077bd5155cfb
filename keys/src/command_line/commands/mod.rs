//! One file per command, or per group of commands that share all but a verb.

pub mod backup;
pub mod client_add;
pub mod client_change;
pub mod client_invite;
pub mod client_report;
pub mod client_revoke;
pub mod client_rotate;
pub mod gateway_rotation;
pub mod gateway_show;
pub mod identity_report;
pub mod init;
pub mod new_profile;
pub mod passwd;
pub mod raw_keys;
pub mod restore;
pub mod secret_output;
