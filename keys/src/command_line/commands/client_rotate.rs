//! `client rotate`: a new profile for a stock client, whose present key works on for a while.

use jiff::SignedDuration;
use vmsgate_cli::{CliError, human};

use crate::command_line::{
    cli::RotateArgs,
    commands::{
        new_profile::{DeviceKeys, GatewayFacts, Output, commit_and_show},
        secret_output,
    },
    context::{Context, registry_error},
};

pub async fn run(context: &Context, args: RotateArgs) -> Result<(), CliError> {
    let (registry, site) = context.site().await?;
    secret_output::check_free(args.profile.out.as_deref())?;
    let gateway = GatewayFacts::of(registry, &site).await?;
    let master = context.master_key()?;

    let keys = DeviceKeys::new(args.profile.public_key);
    let overlap = SignedDuration::try_from(args.overlap).unwrap_or(SignedDuration::MAX);
    let mut change = registry.change(&context.actor()).await.map_err(registry_error)?;
    let client = change.rotate_client(&args.name, keys.public, &keys.preshared, overlap, &master).await;
    let client = client.map_err(registry_error)?;
    let name = &client.name;
    let output = Output {
        out: args.profile.out.as_deref(),
        qr: args.profile.qr,
        done: format!(
            "client `{name}` has a new key; its present one works for {}, or until the new one is heard",
            human::duration(args.overlap)
        ),
        if_lost: format!("the present key of client `{name}` works on for the overlap; rotate it again"),
    };
    commit_and_show(context, change, &client, &keys, (&site, &gateway), output).await
}
