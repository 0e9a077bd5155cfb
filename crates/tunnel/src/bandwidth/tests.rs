use super::*;

const MBIT: u32 = 125_000;
const PACKET: u32 = 1400;

fn line(mbit: u32, now: Instant) -> Line {
    Line::new(limit(mbit), now)
}

fn limit(mbit: u32) -> Limit {
    Limit { bytes_per_second: mbit * MBIT, rule: "limits: bandwidth-down".into() }
}

/// A source of packets: what it wants, and how many packets come together.
struct Source {
    share: Share,
    bytes_per_second: u32,
    together: u32,
    owed: u64,
    offered: u64,
    passed: u64,
}

fn source(mbit: u32, together: u32) -> Source {
    let share = Share::default();
    Source { share, bytes_per_second: mbit * MBIT, together, owed: 0, offered: 0, passed: 0 }
}

impl Source {
    fn lost(&self) -> u64 {
        self.offered - self.passed
    }

    fn start_counting(&mut self) {
        (self.offered, self.passed) = (0, 0);
    }
}

/// Lets sources send for a while, a millisecond at a time, and answers when it is over.
fn send(line: &mut Line, sources: &mut [Source], from: Instant, during: Duration) -> Instant {
    let mut now = from;
    while now < from + during {
        now += Duration::from_millis(1);
        if line.is_due(now) {
            let elapsed = line.begin(now);
            sources.iter_mut().for_each(|source| source.share.measure(elapsed));
            line.share_out(|| sources.iter().map(|source| source.share.wish()));
        }
        for source in &mut *sources {
            source.owed += u64::from(source.bytes_per_second / 1000);
            let burst = u64::from(source.together * PACKET);
            while source.owed >= burst {
                source.owed -= burst;
                for _ in 0..source.together {
                    source.offered += u64::from(PACKET);
                    if line.admit(&mut source.share, PACKET, now) {
                        source.passed += u64::from(PACKET);
                    }
                }
            }
        }
    }
    now
}

fn second(line: &mut Line, sources: &mut [Source], from: Instant) -> Instant {
    send(line, sources, from, Duration::from_secs(1))
}

/// After what was saved up at the beginning.
fn settled(line: &mut Line, sources: &mut [Source], from: Instant) -> Instant {
    let now = send(line, sources, from, Duration::from_secs(3));
    sources.iter_mut().for_each(Source::start_counting);
    now
}

fn percent(part: u64, of: u32) -> u64 {
    part * 100 / u64::from(of)
}

#[test]
fn the_rate_holds_over_a_second_whatever_is_offered() {
    for (mbit, flows) in [(1, 1), (20, 1), (20, 40), (1000, 3)] {
        let start = Instant::now();
        let mut line = line(mbit, start);
        let mut sources: Vec<Source> = (0..flows).map(|_| source(mbit * 2, 4)).collect();
        let now = settled(&mut line, &mut sources, start);
        second(&mut line, &mut sources, now);
        let passed = percent(sources.iter().map(|source| source.passed).sum(), mbit * MBIT);
        assert!((96..=102).contains(&passed), "{mbit} Mbit/s, {flows} flows: {passed} %");
    }
}

#[test]
fn below_the_rate_nothing_is_held_up() {
    let start = Instant::now();
    let mut line = line(20, start);
    let mut sources = [source(9, 20), source(9, 20)];
    send(&mut line, &mut sources, start, Duration::from_secs(10));
    assert_eq!((sources[0].lost(), sources[1].lost(), line.take_held()), (0, 0, None));
}

#[test]
fn an_export_takes_what_live_video_leaves_and_no_packet_of_the_video() {
    let start = Instant::now();
    let mut line = line(10, start);
    // 4 Mbit/s in frames of 20 kB, from the first packet on beside ten times the rate.
    let mut sources = [source(4, 14), source(100, 16)];
    let now = send(&mut line, &mut sources, start, Duration::from_secs(10));
    assert_eq!(sources[0].lost(), 0);
    sources.iter_mut().for_each(Source::start_counting);
    second(&mut line, &mut sources, now);
    let export = percent(sources[1].passed, 6 * MBIT);
    assert!((95..=103).contains(&export), "the export had {export} % of the rest");
}

#[test]
fn video_that_begins_while_an_export_runs_is_whole_too() {
    let start = Instant::now();
    let mut line = line(10, start);
    let mut sources = vec![source(100, 16)];
    let now = settled(&mut line, &mut sources, start);
    sources.push(source(4, 14));
    send(&mut line, &mut sources, now, Duration::from_secs(10));
    assert_eq!(sources[1].lost(), 0);
}

#[test]
fn a_wall_of_video_is_whole_beside_an_export_and_greedy_flows_share_alike() {
    let start = Instant::now();
    let mut line = line(40, start);
    let mut sources: Vec<Source> = (0..16).map(|_| source(1, 8)).collect();
    sources.extend([source(100, 16), source(300, 16), source(100, 16)]);
    let now = settled(&mut line, &mut sources, start);
    send(&mut line, &mut sources, now, Duration::from_secs(5));
    let (video, greedy) = sources.split_at(16);
    assert!(video.iter().all(|source| source.lost() == 0));
    for source in greedy {
        let share = percent(source.passed, 5 * 8 * MBIT);
        assert!((80..=120).contains(&share), "{share} % of a third of the rest");
    }
}

#[test]
fn another_limit_holds_at_once() {
    let start = Instant::now();
    let mut lines = Lines::default();
    lines.set(&Bandwidth { up: None, down: Some(limit(20)) }, start);
    let mut sources = [source(100, 4)];
    let now = settled(lines.get_mut(Direction::Down).unwrap(), &mut sources, start);
    lines.set(&Bandwidth { up: None, down: Some(limit(2)) }, now);
    let now = second(lines.get_mut(Direction::Down).unwrap(), &mut sources, now);
    let passed = percent(sources[0].passed, 2 * MBIT);
    assert!((90..=102).contains(&passed), "{passed} %");
    lines.set(&Bandwidth::default(), now);
    assert!(lines.get_mut(Direction::Down).is_none());
}

#[test]
fn whoever_opens_flow_after_flow_gets_no_more_than_the_rate() {
    let start = Instant::now();
    let mut line = line(10, start);
    let (mut now, mut passed) = (start, 0);
    for _ in 0..10_000 {
        now += Duration::from_millis(1);
        let mut share = Share::default();
        passed += (0..10).filter(|_| line.admit(&mut share, PACKET, now)).count() as u64;
    }
    // Ten seconds' worth, and what was saved up once and may be owed once.
    let most = 10 * 10 * MBIT + 2 * line.rate().burst;
    assert!(passed * u64::from(PACKET) <= u64::from(most + 20 * PACKET));
}

#[test]
fn turns_keep_their_rate() {
    let start = Instant::now();
    let mut line = line(8, start);
    let mut share = Share::default();
    let (mut now, mut sent) = (start, 0_u64);
    while now < start + Duration::from_secs(2) {
        match line.turn(now) {
            Some(turn) => {
                assert!(turn > now);
                now = turn;
            }
            None => {
                line.charge(&mut share, PACKET);
                sent += u64::from(PACKET);
            }
        }
    }
    let most = 2 * 8 * MBIT + line.rate().burst;
    let part = percent(sent, most);
    assert!((98..=101).contains(&part), "{part} %");
    assert!(line.take_held().unwrap().count > 100);
}

#[test]
fn those_who_wait_have_a_packet_s_time_each_in_the_order_of_asking() {
    let start = Instant::now();
    let mut line = line(12, start);
    line.charge(&mut Share::default(), line.rate().burst);
    let turns: Vec<Instant> = (0..10).map(|_| line.turn(start).unwrap()).collect();
    assert!(turns.windows(2).all(|two| two[1] - two[0] == Duration::from_millis(1)), "{turns:?}");
}

#[test]
fn shares_are_filled_up_from_below() {
    let share = |capacity, wishes: &[u32]| fair_share(capacity, || wishes.iter().copied());
    assert_eq!(share(100, &[]), 100);
    assert_eq!(share(100, &[10, 20, 30]), 100);
    assert_eq!(share(100, &[1000]), 100);
    assert_eq!(share(100, &[10, 1000]), 90);
    assert_eq!(share(100, &[10, 30, 1000, 1000]), 30);
    assert_eq!(share(100, &[10, 25, 1000, 1000]), 32);
    assert_eq!(share(10, &[1000; 100]), 1);
}
