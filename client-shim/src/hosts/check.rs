//! Where the names lead in fact: each asked from the system's resolver, as other programs ask.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Mutex;
use std::thread;

use serde::Serialize;

use super::block::Block;

/// Names asked at the same time: one that no server answers for takes many seconds.
const AT_ONCE: usize = 32;

/// What became of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NameCheck {
    pub name: String,
    /// The address that stands for the server on this machine.
    pub expected: IpAddr,
    /// The addresses that programs get.
    pub resolved: Vec<IpAddr>,
    pub verdict: Verdict,
    /// What the resolver said where it has none.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// To the shim, and nowhere else.
    Here,
    /// Elsewhere, or not only to the shim.
    Elsewhere,
    /// Nowhere.
    Unresolved,
}

/// Resolves every name of a block, in its order.
pub fn check(block: &Block) -> Vec<NameCheck> {
    check_with(block, |name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
}

fn check_with(block: &Block, resolve: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Sync) -> Vec<NameCheck> {
    let names: Vec<_> = block.names().collect();
    let waiting = Mutex::new(names.iter().enumerate());
    let work = || {
        let mut done = Vec::new();
        // The lock is held for the look alone.
        while let Some((index, (name, expected))) = waiting.lock().ok().and_then(|mut names| names.next()) {
            // A server has several in mode `tun`.
            let leads_here = |address: &IpAddr| names.contains(&(*name, *address));
            done.push((index, judge(name, *expected, resolve(name), leads_here)));
        }
        done
    };
    let mut checks: Vec<(usize, NameCheck)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE.min(names.len())).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    checks.sort_by_key(|(index, _)| *index);
    checks.into_iter().map(|(_, check)| check).collect()
}

fn judge(
    name: &str,
    expected: IpAddr,
    answer: io::Result<Vec<IpAddr>>,
    leads_here: impl Fn(&IpAddr) -> bool,
) -> NameCheck {
    let (mut resolved, error) = match answer {
        Ok(resolved) => (resolved, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    resolved.sort_unstable();
    resolved.dedup();
    let verdict = match &resolved[..] {
        [] => Verdict::Unresolved,
        addresses if addresses.iter().all(leads_here) => Verdict::Here,
        _ => Verdict::Elsewhere,
    };
    NameCheck { name: name.to_owned(), expected, resolved, verdict, error }
}

#[cfg(test)]
mod tests {
    use super::super::block::Entry;
    use super::*;

    #[test]
    fn every_name_is_judged_by_where_it_leads() {
        let names = ["here", "twice", "away", "both", "nowhere"];
        let entry = Entry { address: [127, 64, 1, 2].into(), names: names.map(str::to_owned).to_vec() };
        let block = Block { profile: "alice".to_owned(), entries: vec![entry; 20] };
        let here: IpAddr = [127, 64, 1, 2].into();
        let away: IpAddr = [192, 168, 10, 21].into();

        let checks = check_with(&block, |name| match name {
            "here" => Ok(vec![here]),
            "twice" => Ok(vec![here, here]),
            "away" => Ok(vec![away]),
            "both" => Ok(vec![away, here]),
            _ => Err(io::Error::other("no such host")),
        });

        let verdicts: Vec<_> = checks.iter().map(|check| (check.name.as_str(), check.verdict)).collect();
        let expected = [
            ("here", Verdict::Here),
            ("twice", Verdict::Here),
            ("away", Verdict::Elsewhere),
            ("both", Verdict::Elsewhere),
            ("nowhere", Verdict::Unresolved),
        ];
        assert_eq!(verdicts, expected.repeat(20));
        assert_eq!(checks.last().unwrap().error.as_deref(), Some("no such host"));
        assert_eq!(checks[3].resolved, [here, away]);
    }
}
