//! The largest packet that gets through the tunnel.
//!
//! The tunnel's datagrams may not be fragmented (netio forbids it), so a packet that is too large for any link on the way,
//! in either direction, is lost in silence: log-ins work, and pictures do not come.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::finding::{Finding, Id, Verdict};
use super::path::ECHO_LIMIT;
use crate::tunnel::Echoes;

/// How often each size is tried: a lost one may have been lost for another reason.
const TRIES: usize = 4;
/// WireGuard pads to so many bytes, so sizes between are sent alike.
const STEP: usize = 16;
/// What every IPv4 host takes; a path that carries less carries no video.
const SMALLEST: usize = 576;
/// The least that IPv6 takes.
const LEAST_IPV6: usize = 1280;

/// The largest size up to `mtu` that is answered; none if none is.
pub(super) async fn largest(echoes: &Echoes, mtu: usize) -> Option<usize> {
    if any_answer(echoes, &[mtu]).await == [mtu] {
        return Some(mtu);
    }
    let sizes: Vec<usize> = (SMALLEST..mtu).step_by(STEP).collect();
    any_answer(echoes, &sizes).await.last().copied()
}

/// Those sizes that are answered at least once, in order. One try after the other, all sizes at the same time.
async fn any_answer(echoes: &Echoes, sizes: &[usize]) -> Vec<usize> {
    let mut answered: BTreeMap<usize, bool> = sizes.iter().map(|size| (*size, false)).collect();
    for _ in 0..TRIES {
        let mut tries = JoinSet::new();
        // A larger one that got through answers for the smaller.
        let best = answered.iter().filter(|(_, answered)| **answered).map(|(size, _)| *size).max();
        for size in answered.keys().copied().filter(|size| best.is_none_or(|best| *size > best)) {
            let echoes = echoes.clone();
            tries.spawn_local(async move { (size, echoes.echo(size, ECHO_LIMIT).await.is_some()) });
        }
        for (size, is_answered) in tries.join_all().await {
            *answered.entry(size).or_default() |= is_answered;
        }
        if answered.last_key_value().is_some_and(|(_, answered)| *answered) {
            break;
        }
    }
    answered.into_iter().filter(|(_, answered)| *answered).map(|(size, _)| size).collect()
}

/// `mtu` is the profile's.
pub(super) fn judge(mtu: usize, largest: Option<usize>) -> Finding {
    let id = Id::PathMtu;
    match largest {
        Some(size) if size >= mtu => {
            Finding::ok(id, format!("packets of {mtu} bytes, the profile's MTU, get through"))
        }
        Some(size) => {
            let message =
                format!("packets of {mtu} bytes, the profile's MTU, are lost; those of {size} get through");
            let inside = if size < LEAST_IPV6 {
                " (IPv6 inside the tunnel does not work with less than 1280)"
            } else {
                ""
            };
            Finding::new(id, Verdict::Problem, message).advise(format!(
                "write `MTU = {size}` into `[Interface]` of the profile, and start again{inside}"
            ))
        }
        None => {
            Finding::new(id, Verdict::Problem, format!("not even packets of {SMALLEST} bytes get through"))
                .advise("try another network; tell your administrator if it is the same there")
        }
    }
    .measured("path_mtu_bytes", largest.unwrap_or_default() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_whose_mtu_does_not_get_through_is_a_problem_with_the_one_that_does() {
        assert_eq!(judge(1420, Some(1420)).verdict, Verdict::Ok);
        let small = judge(1420, Some(1360));
        assert_eq!((small.verdict, small.measured["path_mtu_bytes"]), (Verdict::Problem, 1360.0));
        assert!(small.advice.unwrap().starts_with("write `MTU = 1360` into `[Interface]`"));
        assert!(judge(1420, Some(1200)).advice.unwrap().contains("IPv6"));
        assert_eq!(judge(1420, None).verdict, Verdict::Problem);
    }
}
