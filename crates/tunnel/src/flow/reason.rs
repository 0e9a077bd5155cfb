//! Why flows end.

/// Why a flow ended, stable names in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Both ends said FIN.
    Finished,
    /// The client or the server sent a RST.
    Reset,
    /// The server refused the connection.
    ServerRefused,
    /// The server or the way to it did not answer.
    ServerUnreachable,
    /// The client stopped answering.
    ClientUnreachable,
    Idle,
    /// Made room for a newer flow.
    Evicted,
    /// A changed configuration no longer allows it.
    Policy,
    /// Clear text where TLS is required.
    TlsRequired,
    /// The client was revoked, suspended or has expired.
    ClientBlocked,
    /// Its record cannot be kept, or those of all flows could not be for too long.
    AuditUnavailable,
    Shutdown,
}

impl CloseReason {
    pub const ALL: [Self; Self::Shutdown as usize + 1] = [
        Self::Finished,
        Self::Reset,
        Self::ServerRefused,
        Self::ServerUnreachable,
        Self::ClientUnreachable,
        Self::Idle,
        Self::Evicted,
        Self::Policy,
        Self::TlsRequired,
        Self::ClientBlocked,
        Self::AuditUnavailable,
        Self::Shutdown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::Finished => "finished",
            CloseReason::Reset => "reset",
            CloseReason::ServerRefused => "server-refused",
            CloseReason::ServerUnreachable => "server-unreachable",
            CloseReason::ClientUnreachable => "client-unreachable",
            CloseReason::Idle => "idle",
            CloseReason::Evicted => "evicted",
            CloseReason::Policy => "policy",
            CloseReason::TlsRequired => "tls-required",
            CloseReason::ClientBlocked => "client-blocked",
            CloseReason::AuditUnavailable => "audit-unavailable",
            CloseReason::Shutdown => "shutdown",
        }
    }
}
