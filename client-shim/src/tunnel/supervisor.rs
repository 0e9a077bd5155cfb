//! Decides whether the gateway still answers, and what to try when it does not. Pure: time is passed in.
//!
//! | what happened | what is done | noticed after |
//! | --- | --- | --- |
//! | the gateway restarted | echo goes unanswered; `ClientState` shakes hands again; connections are asked for | 2 s with connections open, 10 s idle |
//! | our address changed | sending fails: a new socket, and an echo from it | at once, or like silence |
//! | the gateway's address changed | silence: its name is resolved again, the next address tried | 4 s after that |
//! | the machine slept | the wall clock jumped: new socket, name resolved, handshake | on waking |

use std::time::{Duration, Instant, SystemTime};

use super::link::LinkState;

/// An echo is sent this often while nothing is carried…
const PROBE_IDLE: Duration = Duration::from_secs(10);
/// …and after this much silence while connections are open.
const PROBE_BUSY: Duration = Duration::from_secs(2);
/// The gateway has not answered when a question is older than this. Also `ClientState`'s patience.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between attempts to find another way. The gateway takes one handshake each five seconds from a client.
const RETRY: Duration = Duration::from_secs(5);
/// Between reactions to failed sending: without any network each attempt fails.
const REBIND_PAUSE: Duration = Duration::from_secs(2);
/// Keys are renewed no sooner (the paper's REKEY_AFTER_TIME of 120 s, less some jitter).
const RENEWAL: Duration = Duration::from_secs(115);
/// When connections are asked for after a handshake that may be with a gateway that has forgotten them: not at once,
/// since whoever answers a handshake may use the new keys only when the other side has, and more than once, since
/// what is asked may be lost.
const REMINDERS: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(6)];
/// A larger step of the wall clock past the monotonic one, which stands still while the machine sleeps.
const SLEPT: Duration = Duration::from_secs(5);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Steps {
    /// Send an echo with this sequence number.
    pub(super) probe: Option<u16>,
    /// Open a new socket.
    pub(super) rebind: bool,
    /// Resolve the endpoint anew, and go to its next address.
    pub(super) resolve: bool,
    /// Shake hands.
    pub(super) connect: bool,
    /// Ask the gateway about every connection.
    pub(super) remind: bool,
}

#[derive(Debug)]
pub(super) struct Supervisor {
    last_heard: Option<Instant>,
    last_handshake: Option<Instant>,
    /// The oldest question without an answer since.
    asked: Option<Instant>,
    /// The newest echo, and when it was sent.
    probe: (u16, Option<Instant>),
    round_trip: Option<Duration>,
    send_failed: bool,
    /// A handshake out of turn, and the reminders sent since.
    suspicion: Option<(Instant, usize)>,
    last_rebind: Instant,
    last_retry: Instant,
    clock: (Instant, SystemTime),
}

impl Supervisor {
    /// Begins with the first handshake.
    pub(super) fn new(now: Instant, wall: SystemTime) -> Self {
        Self {
            last_heard: None,
            last_handshake: None,
            asked: Some(now),
            probe: (0, None),
            round_trip: None,
            send_failed: false,
            suspicion: None,
            last_rebind: now,
            last_retry: now,
            clock: (now, wall),
        }
    }

    /// An authentic message arrived.
    pub(super) fn heard(&mut self, now: Instant) {
        self.last_heard = Some(now);
        self.asked = None;
    }

    /// A handshake completed. One that comes before keys are renewed in the normal course may be with a gateway that
    /// has lost its memory.
    pub(super) fn shook_hands(&mut self, now: Instant) {
        if self.last_handshake.replace(now).is_some_and(|last| since(last, now) < RENEWAL) {
            self.suspicion = Some((now, 0));
        }
    }

    /// The tunnel moved to other keys, as it was told to.
    pub(super) fn moved(&mut self, now: Instant) {
        self.last_handshake = Some(now);
    }

    /// The answer to an echo arrived.
    pub(super) fn echoed(&mut self, sequence: u16, now: Instant) {
        if let (expected, Some(sent)) = self.probe
            && expected == sequence
        {
            self.round_trip = Some(now.saturating_duration_since(sent));
        }
    }

    /// The system refused to send.
    pub(super) fn send_failed(&mut self) {
        self.send_failed = true;
    }

    pub(super) fn state(&self, now: Instant) -> LinkState {
        match (self.last_heard, self.asked) {
            (None, Some(asked)) if since(asked, now) < PATIENCE => LinkState::Connecting,
            (Some(_), None) => LinkState::Connected,
            (Some(_), Some(asked)) if since(asked, now) < PATIENCE => LinkState::Connected,
            _ => LinkState::NoAnswer,
        }
    }

    /// Of the newest answered echo.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// What is due. `busy` while connections are open.
    pub(super) fn tick(&mut self, now: Instant, wall: SystemTime, busy: bool) -> Steps {
        if self.slept(now, wall) {
            self.asked = Some(now);
            return self.retry(now);
        }
        let failed = std::mem::take(&mut self.send_failed);
        let answering = self.state(now) == LinkState::Connected;
        if failed && since(self.last_rebind, now) >= REBIND_PAUSE {
            if !answering {
                return self.retry(now);
            }
            self.last_rebind = now;
            return Steps { rebind: true, probe: Some(self.next_probe(now)), ..Steps::default() };
        }
        // A failure that has to wait for its pause is not forgotten.
        self.send_failed = failed;
        if self.state(now) == LinkState::NoAnswer && since(self.last_retry, now) >= RETRY {
            return self.retry(now);
        }
        let probe = self.probe_due(now, busy).then(|| self.next_probe(now));
        Steps { probe, remind: self.reminder_due(now), ..Steps::default() }
    }

    fn retry(&mut self, now: Instant) -> Steps {
        (self.last_retry, self.last_rebind, self.send_failed) = (now, now, false);
        Steps { rebind: true, resolve: true, connect: true, ..Steps::default() }
    }

    fn reminder_due(&mut self, now: Instant) -> bool {
        let Some((shaken, sent)) = &mut self.suspicion else { return false };
        let Some(after) = REMINDERS.get(*sent) else { return false };
        let due = since(*shaken, now) >= *after;
        *sent += usize::from(due);
        due
    }

    fn probe_due(&self, now: Instant, busy: bool) -> bool {
        let Some(heard) = self.last_heard else { return false };
        let Some(sent) = self.probe.1 else { return true };
        since(sent, now) >= PROBE_IDLE || (busy && since(heard.max(sent), now) >= PROBE_BUSY)
    }

    fn next_probe(&mut self, now: Instant) -> u16 {
        let sequence = self.probe.0.wrapping_add(1);
        self.probe = (sequence, Some(now));
        self.asked.get_or_insert(now);
        sequence
    }

    fn slept(&mut self, now: Instant, wall: SystemTime) -> bool {
        let (then, wall_then) = std::mem::replace(&mut self.clock, (now, wall));
        wall.duration_since(wall_then).is_ok_and(|passed| passed > since(then, now) + SLEPT)
    }
}

fn since(then: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(then)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a supervisor through virtual time in steps of 100 ms.
    struct Run {
        supervisor: Supervisor,
        now: Instant,
        wall: SystemTime,
    }

    impl Run {
        fn new() -> Self {
            let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
            Self { supervisor: Supervisor::new(now, wall), now, wall }
        }

        fn connected() -> Self {
            let mut run = Self::new();
            run.supervisor.heard(run.now);
            run
        }

        /// Goes on until steps are due that `wanted` accepts, and says after how long; no longer than `limit` seconds.
        fn until(&mut self, busy: bool, limit: u64, wanted: impl Fn(&Steps) -> bool) -> Option<Duration> {
            let start = self.now;
            while self.now < start + Duration::from_secs(limit) {
                let steps = self.supervisor.tick(self.now, self.wall, busy);
                if wanted(&steps) {
                    return Some(self.now - start);
                }
                self.now += Duration::from_millis(100);
                self.wall += Duration::from_millis(100);
            }
            None
        }

        fn state(&self) -> LinkState {
            self.supervisor.state(self.now)
        }
    }

    #[test]
    fn a_gateway_that_vanishes_under_a_stream_is_missed_in_seconds() {
        let mut run = Run::connected();
        run.until(true, 1, |steps| steps.probe.is_some()).unwrap();
        run.supervisor.heard(run.now);
        assert_eq!(run.until(true, 20, |steps| steps.probe.is_some()), Some(PROBE_BUSY));
        assert_eq!(run.state(), LinkState::Connected);
        assert!(run.until(true, 20, |steps| steps.connect).unwrap() <= Duration::from_secs(5));
        assert_eq!(run.state(), LinkState::NoAnswer);
    }

    #[test]
    fn an_idle_link_is_asked_now_and_then() {
        let mut run = Run::connected();
        run.until(false, 1, |steps| steps.probe.is_some()).unwrap();
        run.supervisor.heard(run.now);
        assert_eq!(run.until(false, 20, |steps| steps.probe.is_some()), Some(PROBE_IDLE));
    }

    #[test]
    fn a_link_that_answers_is_left_alone() {
        let mut run = Run::connected();
        for _ in 0..100 {
            assert_eq!(run.until(true, 1, |steps| steps.connect || steps.rebind || steps.resolve), None);
            run.supervisor.heard(run.now);
            assert_eq!(run.state(), LinkState::Connected);
        }
    }

    #[test]
    fn a_gateway_that_never_answers_is_tried_for_ever() {
        let mut run = Run::new();
        assert_eq!(run.state(), LinkState::Connecting);
        for _ in 0..100 {
            let everything = |steps: &Steps| steps.connect && steps.resolve && steps.rebind;
            assert!(run.until(false, 6, everything).is_some());
            run.now += Duration::from_millis(100);
            run.wall += Duration::from_millis(100);
        }
        assert_eq!(run.state(), LinkState::NoAnswer);
    }

    #[test]
    fn failed_sending_opens_a_new_socket_but_not_in_a_rush() {
        let mut run = Run::connected();
        run.until(false, 3, |steps| steps.rebind);
        run.supervisor.send_failed();
        let steps = run.supervisor.tick(run.now, run.wall, false);
        assert!(steps.rebind && steps.probe.is_some() && !steps.connect);
        run.supervisor.send_failed();
        assert_eq!(
            run.until(false, 20, |steps| steps.rebind),
            Some(REBIND_PAUSE),
            "not forgotten, not at once"
        );
    }

    #[test]
    fn only_a_handshake_out_of_turn_is_suspicious() {
        let mut run = Run::connected();
        let reminded = |run: &mut Run| {
            run.supervisor.shook_hands(run.now);
            (0..5).filter_map(|_| run.until(true, 3, |steps| steps.remind)).count()
        };
        assert_eq!(reminded(&mut run), 0, "the first");
        run.now += Duration::from_secs(120);
        assert_eq!(reminded(&mut run), 0, "a renewal");
        run.now += Duration::from_secs(30);
        assert_eq!(reminded(&mut run), REMINDERS.len(), "out of turn");
    }

    #[test]
    fn other_keys_are_not_suspicious_and_a_handshake_soon_after_is() {
        let mut run = Run::connected();
        let reminded =
            |run: &mut Run| (0..5).filter_map(|_| run.until(true, 3, |steps| steps.remind)).count();
        run.supervisor.shook_hands(run.now);
        run.now += Duration::from_secs(30);
        run.supervisor.moved(run.now);
        assert_eq!(reminded(&mut run), 0);
        run.supervisor.shook_hands(run.now);
        assert_eq!(reminded(&mut run), REMINDERS.len());
    }

    #[test]
    fn waking_up_starts_afresh() {
        let mut run = Run::connected();
        run.until(false, 1, |steps| steps.rebind);
        run.wall += Duration::from_secs(3600);
        let steps = run.supervisor.tick(run.now, run.wall, false);
        assert_eq!(steps, Steps { rebind: true, resolve: true, connect: true, ..Steps::default() });
    }

    #[test]
    fn the_round_trip_is_that_of_the_newest_echo() {
        let mut run = Run::connected();
        let sequence = run.supervisor.tick(run.now, run.wall, false).probe.unwrap();
        let later = run.now + Duration::from_millis(35);
        run.supervisor.echoed(sequence.wrapping_sub(1), later);
        assert_eq!(run.supervisor.round_trip(), None);
        run.supervisor.echoed(sequence, later);
        assert_eq!(run.supervisor.round_trip(), Some(Duration::from_millis(35)));
    }
}
