//! RFC 3339, checked and not converted: `time` reaches the handler as it was written.

/// Whether `text` is a `date-time` of RFC 3339, section 5.6.
///
/// By hand, because nothing is to be converted, and the `time` crate takes any
/// character between date and time.
pub(crate) fn is_rfc3339(text: &str) -> bool {
    is_date_time(text.as_bytes()).is_some()
}

fn is_date_time(text: &[u8]) -> Option<()> {
    let (head, tail) = text.split_at_checked(19)?;
    let separated = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')].iter().all(|&(at, c)| head.get(at) == Some(&c));
    // Section 5.6 allows lower-case letters. A space is for display only.
    let separated = separated && matches!(head.get(10), Some(b'T' | b't'));
    if !separated {
        return None;
    }
    let year = two_digits(head, 0)? * 100 + two_digits(head, 2)?;
    let month = two_digits(head, 5)?;
    let day = two_digits(head, 8)?;
    let hour = two_digits(head, 11)?;
    let minute = two_digits(head, 14)?;
    let second = two_digits(head, 17)?;
    let minutes_east = offset(after_fraction(tail)?)?;

    let of_day = i32::from(hour) * 60 + i32::from(minute);
    let in_range = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day) && hour < 24 && minute < 60;
    // A leap second is the last one of a UTC day. Which days have one is not known in advance.
    let second_in_range = second < 60 || (second == 60 && (of_day - minutes_east).rem_euclid(1440) == 1439);
    (in_range && second_in_range).then_some(())
}

/// `.` and at least one digit, or nothing.
fn after_fraction(tail: &[u8]) -> Option<&[u8]> {
    let Some(fraction) = tail.strip_prefix(b".") else { return Some(tail) };
    let digits = fraction.iter().take_while(|c| c.is_ascii_digit()).count();
    if digits == 0 { None } else { fraction.get(digits..) }
}

/// `Z`, or hours and minutes east of UTC; in minutes.
fn offset(text: &[u8]) -> Option<i32> {
    let sign = match text {
        [b'Z' | b'z'] => return Some(0),
        [b'+', _, _, b':', _, _] => 1,
        [b'-', _, _, b':', _, _] => -1,
        _ => return None,
    };
    let (hours, minutes) = (two_digits(text, 1)?, two_digits(text, 4)?);
    (hours < 24 && minutes < 60).then(|| sign * (i32::from(hours) * 60 + i32::from(minutes)))
}

fn two_digits(text: &[u8], at: usize) -> Option<u16> {
    match text.get(at..at + 2)? {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(u16::from(tens - b'0') * 10 + u16::from(ones - b'0')),
        _ => None,
    }
}

fn days_in(year: u16, month: u16) -> u16 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    #[test]
    fn accepts_what_the_rfc_shows() {
        for text in [
            "1985-04-12T23:20:50.52Z",
            "1996-12-19T16:39:57-08:00",
            "1990-12-31T23:59:60Z",
            "1990-12-31T15:59:60-08:00",
            "2017-01-01T05:29:60.5+05:30",
            "1937-01-01T12:00:27.87+00:20",
            "2018-04-05t17:31:00z",
            "2018-04-05T17:31:00.1234567890123456789Z",
            "0000-02-29T00:00:00-00:00",
            "9999-12-31T23:59:59+23:59",
        ] {
            assert!(is_rfc3339(text), "{text}");
        }
    }

    #[test]
    fn refuses_what_it_does_not() {
        for text in [
            "",
            "yesterday",
            "2018-04-05",
            "2018-04-05T17:31:00",
            "2018-04-05 17:31:00Z",
            "2018-04-05T17:31Z",
            "2018-04-05T17:31:00.Z",
            "2018-04-05T17:31:00,5Z",
            "2018-04-05T17:31:00+0200",
            "2018-04-05T17:31:00+02",
            "2018-04-05T17:31:00+24:00",
            "2018-04-05T17:31:00+02:60",
            "2018-04-05T17:31:00Z ",
            " 2018-04-05T17:31:00Z",
            "2018-04-05T17:31:00ZZ",
            "2018-13-05T17:31:00Z",
            "2018-00-05T17:31:00Z",
            "2018-04-31T17:31:00Z",
            "2018-04-00T17:31:00Z",
            "2018-02-29T17:31:00Z",
            "1900-02-29T17:31:00Z",
            "2018-04-05T24:00:00Z",
            "2018-04-05T17:60:00Z",
            "2018-04-05T17:31:60Z",
            "1990-12-31T23:59:60-08:00",
            "2018-04-05T23:59:61Z",
            "+018-04-05T17:31:00Z",
            "２018-04-05T17:31:00Z",
        ] {
            assert!(!is_rfc3339(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_time_crate(text in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-5][0-9](\\.[0-9]{0,3})?([Zz]|[+-][0-2][0-9]:[0-6][0-9])") {
            // That crate takes any one character between date and time.
            let theirs = OffsetDateTime::parse(&text, &Rfc3339).is_ok() && !text.contains(' ');
            prop_assert_eq!(is_rfc3339(&text), theirs);
        }
    }
}
