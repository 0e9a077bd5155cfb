//! `vmsgate top`: who is there, what they move and what is refused, as it happens; and a way to cut one client off.
//!
//! - `model`: what is known and chosen; `keys`: what the person typed, to it; both pure
//! - `draw`: the page;
//! - `terminal`: the alternate screen;
//! - `log`: what the audit log tells beside the status;
//! - `once`: one look, for scripts.

mod draw;
mod keys;
mod log;
mod model;
mod once;
mod terminal;

use std::time::{Duration, Instant};

use clap::Args;
use hyper::Method;
use tokio::time::{Interval, MissedTickBehavior};
use vmsgate_cli::{CliError, Exit, OrFail};
use vmsgate_keys::registry::Remark;
use vmsgate_keys::{DataDir, Registry};

use self::keys::Wish;
use self::log::Log;
use self::model::{Model, Order};
use self::terminal::{Input, Terminal};
use super::{Context, control_socket};
use crate::admin::status::{Status, StatusReport};
use crate::hinted::registry_error;

const REFRESH: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct TopArgs {
    /// What the clients are ordered by
    #[arg(long, value_enum, default_value_t = Order::Rate)]
    sort: Order,

    /// Show only clients whose name, operator, role or address contains this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    filter: String,
}

pub async fn execute(context: &Context, args: &TopArgs) -> Result<Exit, CliError> {
    let data = context.data_dir()?;
    let mut model = Model::new(args.sort, args.filter.clone());
    model.note(ask(&data).await?, Instant::now());
    let mut ticks = tokio::time::interval(REFRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    if context.printer.is_json() || !terminal::is_usable() {
        // A rate needs two.
        ticks.tick().await;
        model.note(ask(&data).await?, Instant::now());
        return once::print(context, &model);
    }
    let mut log = Log::open(context).await?;
    let mut terminal = Terminal::open().or_user("the terminal cannot be used")?;
    let ended = watch(context, &data, &mut model, &mut log, &mut terminal, &mut ticks).await;
    drop(terminal);
    ended.map(|()| Exit::Done)
}

async fn watch(
    context: &Context,
    data: &DataDir,
    model: &mut Model,
    log: &mut Log,
    terminal: &mut Terminal,
    ticks: &mut Interval,
) -> Result<(), CliError> {
    model.told = log.read(context, model.looked_at()).await?;
    loop {
        terminal.draw(|frame| draw::page(frame, model)).or_user("the terminal cannot be used")?;
        tokio::select! {
            _ = ticks.tick() => match ask(data).await {
                Ok(status) => model.note(status, Instant::now()),
                // It may be restarting: the view goes on when it is back.
                Err(error) => model.lose(words(&error)),
            },
            input = terminal.input() => match input {
                Input::Redraw => terminal.clear().or_user("the terminal cannot be used")?,
                Input::Gone => return Ok(()),
                Input::Key(key) => match model.press(key) {
                    Wish::Nothing => continue,
                    Wish::Look => {}
                    Wish::End => return Ok(()),
                    Wish::Cut { client, reason } => {
                        model.say(match cut(context, data, &client, &reason).await {
                            Ok(said) => said,
                            Err(error) => words(&error),
                        });
                    }
                },
            },
        }
        model.told = log.read(context, model.looked_at()).await?;
    }
}

fn words(error: &CliError) -> String {
    error.chain().collect::<Vec<_>>().join(": ")
}

async fn ask(data: &DataDir) -> Result<Status, CliError> {
    let report: StatusReport = control_socket::ask(data, Method::GET, "/v1/status", None).await?;
    Ok(report.status)
}

/// Suspends a client, which is recorded with the reason; the gateway cuts it off within two seconds. To end its session alone
/// would end nothing: WireGuard is back at once.
async fn cut(context: &Context, data: &DataDir, client: &str, reason: &str) -> Result<String, CliError> {
    let reason: Remark = reason.parse().or_user("this is no reason")?;
    let registry = Registry::open(&data.database()).await.map_err(registry_error)?;
    let suspend = async {
        let mut change = registry.change(&context.actor()).await?;
        let applied = change.suspend(client, Some(reason)).await?;
        change.commit().await?;
        Ok(applied.changed)
    };
    let changed = suspend.await;
    registry.close().await;
    Ok(match changed.map_err(registry_error)? {
        true => format!("{client} is suspended; `vmsgate-keys client resume {client}` lets it in again"),
        false => format!("{client} was suspended already"),
    })
}
