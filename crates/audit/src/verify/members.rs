//! What the verifier needs to know of a record's text, picked out while its form is checked.

use std::borrow::Cow;

/// A member that is looked at; all others only have to be in canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    SchemaVersion,
    Chain,
    Seq,
    Time,
    Kind,
    /// Of a rejected handshake.
    Client,
    Opened,
    DurationMs,
    SessionId,
    SessionClient,
    SessionOperator,
    FlowId,
    FlowServer,
    FlowAddress,
    LanAddress,
    LanPort,
    Server,
    Address,
    FromClientBytes,
    FromClientPackets,
    ToClientBytes,
    ToClientPackets,
}

const MEMBERS: usize = 22;

/// An object whose members are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Record,
    Session,
    Flow,
    Destination,
    FlowDestination,
    LanSource,
    Traffic,
    FromClient,
    ToClient,
    Elsewhere,
}

impl Place {
    /// The member `name` of the object here, should it be text or a number.
    pub(super) fn member(self, name: &[u8]) -> Option<Member> {
        Some(match (self, name) {
            (Self::Record, b"schema_version") => Member::SchemaVersion,
            (Self::Record, b"chain") => Member::Chain,
            (Self::Record, b"seq") => Member::Seq,
            (Self::Record, b"time") => Member::Time,
            (Self::Record, b"kind") => Member::Kind,
            (Self::Record, b"client") => Member::Client,
            (Self::Record, b"opened") => Member::Opened,
            (Self::Record, b"duration_ms") => Member::DurationMs,
            (Self::Session, b"id") => Member::SessionId,
            (Self::Session, b"client") => Member::SessionClient,
            (Self::Session, b"operator") => Member::SessionOperator,
            (Self::Flow, b"id") => Member::FlowId,
            (Self::FlowDestination, b"server") => Member::FlowServer,
            (Self::FlowDestination, b"address") => Member::FlowAddress,
            (Self::LanSource, b"address") => Member::LanAddress,
            (Self::LanSource, b"port") => Member::LanPort,
            (Self::Destination, b"server") => Member::Server,
            (Self::Destination, b"address") => Member::Address,
            (Self::FromClient, b"bytes") => Member::FromClientBytes,
            (Self::FromClient, b"packets") => Member::FromClientPackets,
            (Self::ToClient, b"bytes") => Member::ToClientBytes,
            (Self::ToClient, b"packets") => Member::ToClientPackets,
            _ => return None,
        })
    }

    /// The member `name` of the object here, should it be an object.
    pub(super) fn inside(self, name: &[u8]) -> Self {
        match (self, name) {
            (Self::Record, b"session") => Self::Session,
            (Self::Record, b"flow") => Self::Flow,
            (Self::Record, b"destination") => Self::Destination,
            (Self::Record, b"traffic") => Self::Traffic,
            (Self::Flow, b"destination") => Self::FlowDestination,
            (Self::Flow, b"lan_source") => Self::LanSource,
            (Self::Traffic, b"from_client") => Self::FromClient,
            (Self::Traffic, b"to_client") => Self::ToClient,
            _ => Self::Elsewhere,
        }
    }
}

/// A value as it stands in the text: a number, or what is between the quotation marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw<'a> {
    pub(super) text: &'a str,
    pub(super) is_text: bool,
    pub(super) has_escapes: bool,
}

/// The members of one record.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Members<'a>([Option<Raw<'a>>; MEMBERS]);

impl<'a> Members<'a> {
    pub(super) fn put(&mut self, member: Member, value: Raw<'a>) {
        if let Some(slot) = self.0.get_mut(member as usize) {
            *slot = Some(value);
        }
    }

    /// None for a member that is missing or no text.
    pub(super) fn text(&self, member: Member) -> Option<Cow<'a, str>> {
        let raw = self.raw(member).filter(|raw| raw.is_text)?;
        Some(if raw.has_escapes { Cow::Owned(unescaped(raw.text)) } else { Cow::Borrowed(raw.text) })
    }

    /// None for a member that is missing or no number of this range.
    pub(super) fn number(&self, member: Member) -> Option<u64> {
        self.raw(member).filter(|raw| !raw.is_text)?.text.parse().ok()
    }

    /// None for a member that is missing or not a time as records write it.
    pub(super) fn time_ms(&self, member: Member) -> Option<i64> {
        time_ms(self.raw(member).filter(|raw| raw.is_text)?.text.as_bytes())
    }

    fn raw(&self, member: Member) -> Option<Raw<'a>> {
        self.0.get(member as usize).copied().flatten()
    }
}

/// The text that canonical escapes stand for; the scanner has checked them.
pub(super) fn unescaped(text: &str) -> String {
    serde_json::from_str(&format!("\"{text}\"")).unwrap_or_default()
}

/// Milliseconds since 1970 of `2026-03-01T09:30:00.125Z`, and of nothing that is written otherwise.
fn time_ms(text: &[u8]) -> Option<i64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let [
        y @ ..,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b'T',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
        b'.',
        f1,
        f2,
        f3,
        b'Z',
    ] = text
    else {
        return None;
    };
    let y: &[u8; 4] = y;
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_i64, |value, digit| {
            digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(y)?, number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*n1, *n2])?, number(&[*s1, *s2])?);
    let ms = number(&[*f1, *f2, *f3])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_before = match month {
        1 => 0,
        2 => 31,
        3..=12 => (153 * (month - 3) + 2) / 5 + 59 + i64::from(leap),
        _ => return None,
    };
    let days_in_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1970 || day < 1 || day > days_in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let past = year - 1;
    let days = past * 365 + past / 4 - past / 100 + past / 400 - 719_162 + days_before + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UtcTime;

    #[test]
    fn every_day_until_2100_and_the_edges_of_a_day_are_read_as_they_were_written() {
        for day in 0..47_500 {
            for ms in [day * 86_400_000, day * 86_400_000 + 86_399_999] {
                let text = UtcTime::from_unix_ms(ms).to_string();
                assert_eq!(time_ms(text.as_bytes()), Some(ms), "{text}");
            }
        }
    }

    #[test]
    fn nothing_else_is_a_time() {
        for text in [
            "",
            "2026-03-01T09:30:00Z",
            "2026-03-01 09:30:00.125Z",
            "2026-02-29T09:30:00.125Z",
            "2026-13-01T09:30:00.125Z",
            "2026-03-01T24:00:00.000Z",
            "2026-03-01T09:60:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "2026-03-0xT09:30:00.125Z",
        ] {
            assert_eq!(time_ms(text.as_bytes()), None, "{text}");
        }
    }
}
