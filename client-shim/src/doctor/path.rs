//! The path to the gateway, measured with echoes through the tunnel: round trip and loss.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use vmsgate_cli::human;

use super::finding::{Finding, Id, Verdict};
use super::link::milliseconds;
use crate::tunnel::Echoes;

/// Echoes that are sent, and the pause between them: two seconds of light traffic. One lost is one percent.
const ECHOES: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);
/// After which an echo counts as lost.
pub(super) const ECHO_LIMIT: Duration = Duration::from_secs(2);
/// Beyond it, moving a camera feels late (general knowledge of operators; no vendor's number is known).
const ROUND_TRIP_WARNING: Duration = Duration::from_millis(200);
/// Percent. Video is TCP: with 1 % lost at 80 ms a loss-based connection stays at 1.7 Mbit/s (Mathis et al. 1997:
/// 1.22 · MSS / (round trip · √loss)), less than half of what a 1080p stream takes.
const LOSS_WARNING: f64 = 1.0;
/// At 5 % that is 0.75 Mbit/s, which no stream gets by with.
const LOSS_PROBLEM: f64 = 5.0;

/// Sends echoes one after the other; each with its round trip, or nothing if it was lost.
pub(super) async fn echoes(echoes: &Echoes) -> Vec<Option<Duration>> {
    let mut ticks = tokio::time::interval(PAUSE);
    // A machine that is busy for a while must not make up for it in a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answers = JoinSet::new();
    for _ in 0..ECHOES {
        ticks.tick().await;
        let echoes = echoes.clone();
        answers.spawn_local(async move { echoes.echo(0, ECHO_LIMIT).await });
    }
    answers.join_all().await
}

pub(super) fn round_trip(answers: &[Option<Duration>]) -> Finding {
    let id = Id::PathRoundTrip;
    let mut times: Vec<Duration> = answers.iter().flatten().copied().collect();
    times.sort_unstable();
    let (Some(median), Some(longest)) = (times.get(times.len() / 2).copied(), times.last().copied()) else {
        return Finding::skipped(id, "no echo was answered");
    };
    let message = format!("median {}, longest {}", short(median), short(longest));
    let verdict = if median > ROUND_TRIP_WARNING { Verdict::Warning } else { Verdict::Ok };
    let finding = Finding::new(id, verdict, message)
        .measured("round_trip_median_ms", milliseconds(median))
        .measured("round_trip_max_ms", milliseconds(longest));
    if verdict == Verdict::Ok {
        return finding;
    }
    finding.advise(
        "video is fine, moving a camera feels late: a wired connection, or one nearer to the site, helps",
    )
}

pub(super) fn loss(answers: &[Option<Duration>]) -> Finding {
    let id = Id::PathLoss;
    let (sent, lost) = (answers.len(), answers.iter().filter(|answer| answer.is_none()).count());
    let percent = 100.0 * lost as f64 / sent.max(1) as f64;
    let verdict = match percent {
        _ if lost == 0 => Verdict::Ok,
        percent if percent >= LOSS_PROBLEM => Verdict::Problem,
        percent if percent > LOSS_WARNING => Verdict::Warning,
        _ => Verdict::Note,
    };
    let message = format!("{lost} of {sent} echoes were lost");
    let finding = Finding::new(id, verdict, message).measured("loss_percent", percent);
    if verdict < Verdict::Warning {
        return finding;
    }
    finding.advise(
        "video stutters with so much loss: go nearer to the Wi-Fi, or use a cable; if another connection of this machine is \
         no better, the loss is on the gateway's side: tell your administrator",
    )
}

fn short(time: Duration) -> String {
    if time < Duration::from_millis(1) { "under 1 ms".to_owned() } else { human::duration(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(time: u64) -> Option<Duration> {
        Some(Duration::from_millis(time))
    }

    #[test]
    fn a_round_trip_is_judged_by_its_median() {
        let judge = |times: &[Option<Duration>]| round_trip(times);
        let quick = judge(&[ms(20), None, ms(900), ms(21), ms(22), ms(19)]);
        assert_eq!((quick.verdict, &*quick.message), (Verdict::Ok, "median 21 ms, longest 900 ms"));
        assert_eq!(quick.measured["round_trip_max_ms"], 900.0);
        assert_eq!(judge(&[ms(201), ms(201), ms(1)]).verdict, Verdict::Warning);
        assert_eq!(judge(&[ms(200)]).verdict, Verdict::Ok);
        assert_eq!(judge(&[None, None]).verdict, Verdict::Skipped);
        assert_eq!(judge(&[ms(0)]).message, "median under 1 ms, longest under 1 ms");
    }

    #[test]
    fn loss_is_judged_by_its_share() {
        let judge = |lost: usize, sent: usize| {
            let answers: Vec<_> = (0..sent).map(|n| if n < lost { None } else { ms(1) }).collect();
            loss(&answers)
        };
        for (lost, verdict) in [
            (0, Verdict::Ok),
            (1, Verdict::Note),
            (2, Verdict::Warning),
            (4, Verdict::Warning),
            (5, Verdict::Problem),
        ] {
            assert_eq!((lost, judge(lost, 100).verdict), (lost, verdict));
        }
        assert_eq!(judge(3, 100).message, "3 of 100 echoes were lost");
        assert_eq!(judge(3, 100).measured["loss_percent"], 3.0);
        assert_eq!(judge(0, 0).verdict, Verdict::Ok);
    }
}
