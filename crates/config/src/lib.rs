//! The configuration of a gateway: the file, the built-in catalogue, and the rules that hold between them.

pub mod address;
pub mod catalogue;
mod finding;
mod names;
mod ports;
pub mod profile;
mod resolved;

pub use catalogue::{NeverExpose, never_expose};
pub use finding::{ConfigErrors, Finding, Severity};
pub use names::nearest;
pub use ports::{PortRange, Protocol, ProtocolPorts};
pub use resolved::{
    Admin, Audit, Config, Dns, Egress, Exposure, Gateway, Limits, OnDenied, Permission, Proxy, Role, Server,
    Service,
};

/// Reads and checks the file at `path`; values may come from the environment (`VMSGATE_…`) instead.
///
/// # Errors
/// Every problem that could be found at once, each with its place and a hint.
pub fn load(path: &std::path::Path) -> Result<Config, ConfigErrors> {
    let refused = |message: String| ConfigErrors {
        findings: vec![Finding {
            severity: Severity::Error,
            file: path.display().to_string(),
            line: None,
            message,
            hint: None,
        }],
    };
    let text = std::fs::read_to_string(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    Config::from_str(&text, &path.display().to_string())
}

impl Config {
    /// Checks `text` as [`load`] does, without looking at the environment; `name` stands for the file.
    ///
    /// # Errors
    /// As [`load`].
    #[expect(clippy::should_implement_trait, reason = "a configuration needs the name of its source")]
    pub fn from_str(text: &str, name: &str) -> Result<Self, ConfigErrors> {
        Err(ConfigErrors {
            findings: vec![Finding {
                severity: Severity::Error,
                file: name.to_owned(),
                line: None,
                message: format!("{} bytes of configuration cannot be resolved by this build", text.len()),
                hint: None,
            }],
        })
    }
}
