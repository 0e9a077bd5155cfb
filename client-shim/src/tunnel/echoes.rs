//! Echoes on demand: whether a packet of a given size makes it to the gateway and back, and how long that takes.
//!
//! The supervisor's own echoes ask whether the gateway is there; these measure the way to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

/// Questions on their way to the driver; the rest waits for it.
const QUEUE: usize = 64;

/// One echo that is asked for.
#[derive(Debug)]
pub(super) struct Question {
    /// Of the whole IP packet in the tunnel.
    bytes: usize,
    answered: oneshot::Sender<Duration>,
}

/// Has the driver send echoes to the gateway's own address in the tunnel.
#[derive(Debug, Clone)]
pub(crate) struct Echoes(mpsc::Sender<Question>);

impl Echoes {
    pub(super) fn new() -> (Self, mpsc::Receiver<Question>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// The round trip of an echo whose packet has `bytes` bytes; nothing if no answer comes within `limit`.
    pub(crate) async fn echo(&self, bytes: usize, limit: Duration) -> Option<Duration> {
        let (answered, answer) = oneshot::channel();
        let asked = async {
            self.0.send(Question { bytes, answered }).await.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(limit, asked).await.ok()?
    }
}

/// The echoes that wait for their answers, by sequence number.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) identifier: u16,
    next: u16,
    sent: BTreeMap<u16, (Instant, oneshot::Sender<Duration>)>,
}

impl Waiting {
    pub(super) fn new(identifier: u16) -> Self {
        Self { identifier, next: 0, sent: BTreeMap::new() }
    }

    /// Notes an echo that is sent now. Answers its sequence number and the size of its packet.
    pub(super) fn note(&mut self, Question { bytes, answered }: Question, now: Instant) -> (u16, usize) {
        // Those that nobody waits for any more.
        self.sent.retain(|_, (_, answered)| !answered.is_closed());
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        self.sent.insert(sequence, (now, answered));
        (sequence, bytes)
    }

    pub(super) fn answered(&mut self, sequence: u16, now: Instant) {
        if let Some((sent, answered)) = self.sent.remove(&sequence) {
            let _ = answered.send(now.saturating_duration_since(sent));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_goes_to_who_asked_for_it_and_silence_ends() {
        let (echoes, mut questions) = Echoes::new();
        let mut waiting = Waiting::new(7);
        let now = Instant::now();
        let (short, long) = (Duration::from_millis(10), Duration::from_secs(600));
        let drive = async {
            let first = questions.recv().await.unwrap();
            let (lost, _) = waiting.note(first, now);
            let second = questions.recv().await.unwrap();
            let (kept, bytes) = waiting.note(second, now);
            assert_eq!((bytes, kept == lost), (1420, false));
            waiting.answered(kept, now + Duration::from_millis(35));
            waiting.answered(kept, now + Duration::from_millis(70));
        };
        let ask = async { tokio::join!(echoes.echo(100, short), echoes.echo(1420, long)) };
        let (answers, ()) = tokio::join!(ask, drive);
        assert_eq!(answers, (None, Some(Duration::from_millis(35))));

        let ask = echoes.echo(100, short);
        let drive = async {
            let question = questions.recv().await.unwrap();
            waiting.note(question, now);
        };
        tokio::join!(ask, drive);
        assert_eq!(waiting.sent.len(), 1, "what nobody waits for is forgotten");
    }
}
