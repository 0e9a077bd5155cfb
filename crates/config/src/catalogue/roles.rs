//! The four built-in roles.

/// A role that exists without being written down, until a file defines one of the same name.
#[derive(Debug)]
pub struct BuiltInRole {
    pub name: &'static str,
    pub description: &'static str,
    pub allow: &'static [&'static str],
}

/// Each rule applies to every server that runs the service. Plug-in messaging (22333) is left out of
/// `smart-client`: video, playback, alarms and maps work without it.
pub const BUILT_IN_ROLES: &[BuiltInRole] = &[
    BuiltInRole {
        name: "smart-client",
        description: "XProtect Smart Client: log in, live video, playback, export, PTZ, alarms, maps, incidents",
        allow: &[
            "*:management-server",
            "*:api-gateway",
            "*:incident-manager",
            "*:recording-server",
            "*:failover-recording-server",
            "*:event-server",
        ],
    },
    BuiltInRole {
        name: "management-client",
        description: "XProtect Management Client: configuration, preview, alarms, reading the logs",
        allow: &[
            "*:management-server",
            "*:api-gateway",
            "*:recording-server",
            "*:failover-recording-server",
            "*:event-server",
            "*:log-server",
        ],
    },
    BuiltInRole {
        name: "web-mobile",
        description: "XProtect Web Client and Mobile client, through the mobile server alone",
        allow: &["*:mobile-server"],
    },
    BuiltInRole {
        name: "integration",
        description: "MIP SDK, REST and RTSP integrations",
        allow: &[
            "*:management-server",
            "*:api-gateway",
            "*:recording-server",
            "*:failover-recording-server",
            "*:event-server",
            "*:event-server-messaging",
            "*:open-network-bridge",
        ],
    },
];
