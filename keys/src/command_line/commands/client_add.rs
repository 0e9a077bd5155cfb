//! `client add`: a new client and its profile.

use crate::NewClient;
use jiff::Timestamp;
use vmsgate_cli::CliError;

use crate::command_line::{
    cli::AddArgs,
    commands::{
        new_profile::{DeviceKeys, GatewayFacts, Output, commit_and_show},
        secret_output,
    },
    context::{Context, addresses, registry_error},
};

pub async fn run(context: &Context, args: AddArgs) -> Result<(), CliError> {
    let (registry, site) = context.site().await?;
    site.check_role(&args.role)?;
    let expires = site.expiry(&args.role, args.expires, Timestamp::now())?;
    secret_output::check_free(args.profile.out.as_deref())?;
    let gateway = GatewayFacts::of(registry, &site).await?;
    let master = context.master_key()?;

    let keys = DeviceKeys::new(args.profile.public_key);
    let new = NewClient {
        name: args.name,
        operator: args.operator,
        role: args.role,
        expires,
        public_key: keys.public,
        preshared_key: keys.preshared.clone(),
    };
    let mut change = registry.change(&context.actor()).await.map_err(registry_error)?;
    let client = change.add_client(new, &site.ranges, &master).await.map_err(registry_error)?;
    let (name, role) = (&client.name, &client.role);
    let output = Output {
        out: args.profile.out.as_deref(),
        qr: args.profile.qr,
        done: format!("client `{name}` added with role `{role}` and addresses {}", addresses(&client)),
        if_lost: format!("client `{name}` was added; revoke it and add the device under a new name"),
    };
    commit_and_show(context, change, &client, &keys, (&site, &gateway), output).await
}
