//! Decides whether the gateway still answers, and what to try when it does not. Pure: time is passed in.
//!
//! | what happened | what is done | noticed after |
//! | --- | --- | --- |
//! | the gateway restarted | echo goes unanswered; `ClientState` shakes hands again; connections are asked for | 2 s with connections open, 10 s idle |
//! | our address changed | sending fails: a new socket, and an echo from it | at once, or like silence |
//! | the gateway's address changed | silence: its name is resolved again, the next address tried | 4 s after that |
//! | one of several endpoints fell silent | silence: every other address is tried in turn | 4 s after that; idle, the echo comes every 4 s then |
//! | the preferred endpoint may be back | an echo to it, through the tunnel in use | every 5 s while another is used |
//! | the machine slept | the wall clock jumped: new socket, name resolved, handshake | on waking |

use std::time::{Duration, Instant, SystemTime};

use super::link::LinkState;

/// An echo is sent this often while nothing is carried…
const PROBE_IDLE: Duration = Duration::from_secs(10);
/// …or this often where there is another address to go to, so that it is in use 10 s after the silence began…
const PROBE_IDLE_ELSEWHERE: Duration = Duration::from_secs(4);
/// …and after this much silence while connections are open.
const PROBE_BUSY: Duration = Duration::from_secs(2);
/// The gateway has not answered when a question is older than this. Also `ClientState`'s patience.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between attempts to find another way. The gateway takes one handshake each five seconds from a client.
const RETRY: Duration = Duration::from_secs(5);
/// The same when the gateway has said that it does not accept us.
const RETRY_REFUSED: Duration = Duration::from_secs(30);
/// Between one address and the next of a gateway that does not answer: most round trips are shorter.
const NEXT_ADDRESS: Duration = Duration::from_millis(1200);
/// Between attempts to reach the preferred endpoint while another is in use.
const CALL_HOME: Duration = Duration::from_secs(5);
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
    /// Resolve the endpoints anew.
    pub(super) resolve: bool,
    /// Go to the gateway's next address.
    pub(super) next: bool,
    /// Shake hands.
    pub(super) connect: bool,
    /// Try the preferred endpoint; how many times that was done since it was left.
    pub(super) call_home: Option<u32>,
    /// Ask the gateway about every connection.
    pub(super) remind: bool,
}

/// What the supervisor does not know by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Situation {
    /// Connections are open.
    pub(super) busy: bool,
    /// There is more than one address to go to.
    pub(super) has_others: bool,
    /// The address in use is none of the preferred endpoint's.
    pub(super) away: bool,
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
    /// The gateway has shut us out, and no handshake was completed since.
    refused: bool,
    /// A handshake out of turn, and the reminders sent since.
    suspicion: Option<(Instant, usize)>,
    last_rebind: Instant,
    last_retry: Instant,
    /// When the address was changed last.
    last_next: Instant,
    /// The last attempt to reach the preferred endpoint, and how many there were since it was left.
    calls: (Instant, u32),
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
            refused: false,
            suspicion: None,
            last_rebind: now,
            last_retry: now,
            last_next: now,
            calls: (now, 0),
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
        self.refused = false;
        if self.last_handshake.replace(now).is_some_and(|last| since(last, now) < RENEWAL) {
            self.suspicion = Some((now, 0));
        }
    }

    /// The gateway has said that it does not accept us any more. What was under way before may still arrive, so only a
    /// handshake says otherwise.
    pub(super) fn refuse(&mut self, now: Instant) {
        (self.refused, self.last_retry) = (true, now);
    }

    /// The tunnel moved to other keys, as it was told to.
    pub(super) fn moved(&mut self, now: Instant) {
        self.last_handshake = Some(now);
        self.refused = false;
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
        if self.refused {
            return LinkState::Refused;
        }
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

    /// What is due.
    pub(super) fn tick(&mut self, now: Instant, wall: SystemTime, situation: Situation) -> Steps {
        if self.slept(now, wall) {
            self.asked = Some(now);
            // The address that worked before probably still does.
            self.last_next = now;
            return Steps { next: false, ..self.retry(now) };
        }
        if self.refused {
            self.send_failed = false;
            let due = since(self.last_retry, now) >= RETRY_REFUSED;
            return if due { self.retry(now) } else { Steps::default() };
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
        if self.state(now) == LinkState::NoAnswer {
            if since(self.last_retry, now) >= RETRY {
                return self.retry(now);
            }
            if situation.has_others && since(self.last_next, now) >= NEXT_ADDRESS {
                self.last_next = now;
                return Steps { next: true, connect: true, ..Steps::default() };
            }
        }
        let probe = self.probe_due(now, situation).then(|| self.next_probe(now));
        let call_home = self.call_home_due(now, situation.away);
        Steps { probe, remind: self.reminder_due(now), call_home, ..Steps::default() }
    }

    fn retry(&mut self, now: Instant) -> Steps {
        (self.last_retry, self.last_rebind, self.send_failed) = (now, now, false);
        self.last_next = now;
        Steps { rebind: true, resolve: true, next: true, connect: true, ..Steps::default() }
    }

    fn call_home_due(&mut self, now: Instant, away: bool) -> Option<u32> {
        if !away {
            self.calls = (now, 0);
            return None;
        }
        let due = self.state(now) == LinkState::Connected && since(self.calls.0, now) >= CALL_HOME;
        due.then(|| {
            self.calls = (now, self.calls.1.saturating_add(1));
            self.calls.1
        })
    }

    fn reminder_due(&mut self, now: Instant) -> bool {
        let Some((shaken, sent)) = &mut self.suspicion else { return false };
        let Some(after) = REMINDERS.get(*sent) else { return false };
        let due = since(*shaken, now) >= *after;
        *sent += usize::from(due);
        due
    }

    fn probe_due(&self, now: Instant, Situation { busy, has_others, .. }: Situation) -> bool {
        let Some(heard) = self.last_heard else { return false };
        let Some(sent) = self.probe.1 else { return true };
        let idle = if has_others { PROBE_IDLE_ELSEWHERE } else { PROBE_IDLE };
        since(sent, now) >= idle || (busy && since(heard.max(sent), now) >= PROBE_BUSY)
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
        has_others: bool,
        away: bool,
    }

    impl Run {
        fn new() -> Self {
            let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
            Self { supervisor: Supervisor::new(now, wall), now, wall, has_others: false, away: false }
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
                let steps = self.tick(busy);
                if wanted(&steps) {
                    return Some(self.now - start);
                }
                self.now += Duration::from_millis(100);
                self.wall += Duration::from_millis(100);
            }
            None
        }

        fn tick(&mut self, busy: bool) -> Steps {
            let situation = Situation { busy, has_others: self.has_others, away: self.away };
            self.supervisor.tick(self.now, self.wall, situation)
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
        let steps = run.tick(false);
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
        let steps = run.tick(false);
        assert_eq!(steps, Steps { rebind: true, resolve: true, connect: true, ..Steps::default() });
    }

    #[test]
    fn every_address_of_a_silent_gateway_is_tried_and_the_first_two_within_ten_seconds() {
        for busy in [true, false] {
            let mut run = Run { has_others: true, ..Run::connected() };
            let (mut tried, start) = (Vec::new(), run.now);
            // The worst moment: right after an echo was answered.
            run.until(busy, 1, |steps| steps.probe.is_some()).unwrap();
            run.supervisor.heard(run.now);
            while tried.len() < 4 {
                run.until(busy, 20, |steps| steps.next && steps.connect).unwrap();
                tried.push(run.now - start);
                run.now += Duration::from_millis(100);
            }
            assert!(tried[1] < Duration::from_secs(10), "{busy}: {tried:?}");
            assert!(tried[3] < tried[0] + Duration::from_secs(5), "{busy}: {tried:?}");
        }
    }

    #[test]
    fn the_preferred_endpoint_is_tried_while_another_is_in_use_and_no_longer() {
        let mut run = Run { away: true, ..Run::connected() };
        // Every question is answered at once.
        let calls = |run: &mut Run, seconds: u64| -> Vec<u32> {
            let steps = (0..seconds * 10).filter_map(|_| {
                let call = run.tick(false).call_home;
                run.supervisor.heard(run.now);
                run.now += Duration::from_millis(100);
                run.wall += Duration::from_millis(100);
                call
            });
            steps.collect()
        };
        assert_eq!(calls(&mut run, 16), [1, 2, 3]);
        run.away = false;
        assert_eq!(calls(&mut run, 16), [0; 0]);
        run.away = true;
        assert_eq!(calls(&mut run, 6), [1], "counted from the start");
    }

    #[test]
    fn a_refused_client_asks_rarely_until_a_handshake_says_otherwise() {
        let mut run = Run { has_others: true, ..Run::connected() };
        run.until(true, 1, |steps| steps.probe.is_some()).unwrap();
        run.supervisor.refuse(run.now);
        // What the gateway had sent before.
        run.supervisor.heard(run.now);
        for _ in 0..3 {
            assert_eq!(run.state(), LinkState::Refused);
            assert_eq!(run.until(true, 120, |steps| *steps != Steps::default()), Some(RETRY_REFUSED));
            run.now += Duration::from_millis(100);
            run.wall += Duration::from_millis(100);
            run.supervisor.last_retry = run.now;
        }
        run.supervisor.heard(run.now);
        run.supervisor.shook_hands(run.now);
        assert_eq!(run.state(), LinkState::Connected);
    }

    #[test]
    fn the_round_trip_is_that_of_the_newest_echo() {
        let mut run = Run::connected();
        let sequence = run.tick(false).probe.unwrap();
        let later = run.now + Duration::from_millis(35);
        run.supervisor.echoed(sequence.wrapping_sub(1), later);
        assert_eq!(run.supervisor.round_trip(), None);
        run.supervisor.echoed(sequence, later);
        assert_eq!(run.supervisor.round_trip(), Some(Duration::from_millis(35)));
    }
}
