//! Moments as people read them: how long ago, and when exactly in UTC.

use std::time::Duration;

use askama::{Template, filters::HtmlSafe};
use symbolon_core::time::Time;

use super::words::Words;

/// A moment as a `<time>` element that reads "3 minutes ago" and has the exact moment beside it.
#[derive(Debug, Template)]
#[template(
    source = r#"<time datetime="{{ machine }}" title="{{ exact }}">{{ text }}</time>"#,
    ext = "html"
)]
pub(super) struct Moment {
    machine: String,
    exact: String,
    text: String,
}

impl HtmlSafe for Moment {}

impl Moment {
    /// The moment, said by its distance from `now`.
    pub(super) fn ago(time: Time, now: Time, words: &Words) -> Self {
        let date = Date::of(time);
        let exact = date.exact();
        let text = ago(now.since(time), words).unwrap_or_else(|| exact.clone());
        Self { machine: date.machine(), exact, text }
    }

    /// The moment, said by date and time of day in UTC.
    pub(super) fn exact(time: Time) -> Self {
        let date = Date::of(time);
        let exact = date.exact();
        Self { machine: date.machine(), text: exact.clone(), exact }
    }
}

/// "3 minutes ago", up to a month.
fn ago(span: Duration, words: &Words) -> Option<String> {
    let minutes = span.as_secs() / 60;
    Some(match minutes {
        0 => words.just_now.to_owned(),
        1..60 => words.minutes_ago(minutes),
        60..1440 => words.hours_ago(minutes / 60),
        1440..43_200 => words.days_ago(minutes / 1440),
        _ => return None,
    })
}

/// A moment to the minute, in UTC.
pub(crate) fn date_text(time: Time) -> String {
    Date::of(time).exact()
}

/// How long to wait: whole seconds up to two minutes, then whole minutes, both rounded up.
pub(super) fn wait(span: Duration, words: &Words) -> String {
    let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    if seconds < 120 { words.seconds(seconds.max(1)) } else { words.minutes(seconds.div_ceil(60)) }
}

/// A date of the Gregorian calendar and a time of day, in UTC.
struct Date {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

impl Date {
    /// Counts in eras of 400 years that begin on 1 March, so that the leap day is the last of its year.
    fn of(time: Time) -> Self {
        let (days, second_of_day) =
            (time.secs().div_euclid(86_400), time.secs().rem_euclid(86_400));
        let since_0000_03_01 = days + 719_468;
        let era = since_0000_03_01.div_euclid(146_097);
        let day_of_era = since_0000_03_01.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            second_of_day,
        }
    }

    /// RFC 3339, as `datetime` wants it.
    fn machine(&self) -> String {
        let Self { year, month, day, second_of_day: s } = self;
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", s / 3600, s / 60 % 60, s % 60)
    }

    /// To the minute, in a form that every reader of either language knows.
    fn exact(&self) -> String {
        let Self { year, month, day, second_of_day: s } = self;
        format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", s / 3600, s / 60 % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Locale, *};

    #[test]
    fn dates_are_the_calendars() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_210_096, "2024-02-29T12:34:56Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Date::of(Time::from_secs(secs)).machine(), text);
        }
    }

    #[test]
    fn distances_are_said_in_the_largest_unit() {
        let said = |secs| {
            let now = Time::from_secs(1_000_000_000);
            let time = now - Duration::from_secs(secs);
            let text = |locale| Moment::ago(time, now, Words::of(locale)).text;
            (text(Locale::En), text(Locale::Ko))
        };
        for (secs, en, ko) in [
            (0, "just now", "방금"),
            (59, "just now", "방금"),
            (60, "1 minute ago", "1분 전"),
            (3599, "59 minutes ago", "59분 전"),
            (3600, "1 hour ago", "1시간 전"),
            (86_400, "1 day ago", "1일 전"),
            (29 * 86_400, "29 days ago", "29일 전"),
            (30 * 86_400, "2001-08-10 01:46 UTC", "2001-08-10 01:46 UTC"),
        ] {
            assert_eq!(said(secs), (en.to_owned(), ko.to_owned()), "{secs} s");
        }
        let (past, future) = (Time::from_secs(0), Time::from_secs(9));
        assert_eq!(Moment::ago(future, past, Words::of(Locale::En)).text, "just now");
    }

    #[test]
    fn waits_are_never_too_short() {
        let said = |ms| wait(Duration::from_millis(ms), Words::of(Locale::En));
        for (ms, text) in [
            (0, "1 second"),
            (1000, "1 second"),
            (1001, "2 seconds"),
            (119_000, "119 seconds"),
            (119_001, "2 minutes"),
            (120_001, "3 minutes"),
        ] {
            assert_eq!(said(ms), text, "{ms} ms");
        }
    }
}
