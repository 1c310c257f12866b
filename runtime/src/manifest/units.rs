//! Durations and sizes as people write them.

use std::time::Duration;

/// Reads a duration: a number and a unit, `ms`, `s`, `m` or `h`, as in `500ms` or `1.5s`.
///
/// # Errors
/// What is wrong, as an end to "`x` is not a duration: …"; the text itself is not in it.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const NEVER_LONGER: f64 = 366.0 * 24.0 * 3600.0;
    let (number, unit) = split(text);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" => return Err("the unit is missing"),
        "us" | "µs" | "ns" => return Err("a millisecond is the smallest unit"),
        "d" | "day" | "days" => return Err("an hour is the largest unit"),
        _ => return Err("the unit must be ms, s, m or h"),
    };
    let seconds = decimal(number)? * seconds_per_unit;
    if seconds > NEVER_LONGER {
        return Err("it is longer than a year");
    }
    // Through whole microseconds, so that 1.1s is not 1.100000024s.
    Ok(Duration::from_micros((seconds * 1e6).round() as u64))
}

/// Reads a size in bytes: a number and a unit, `B`, `KiB`, `MiB`, `GiB`, `TiB`, `PiB`
/// (powers of 1024) or `KB`, `MB`, `GB` (powers of 1000); without a unit, bytes.
///
/// # Errors
/// What is wrong, as an end to "`x` is not a size: …"; the text itself is not in it.
pub fn parse_size(text: &str) -> Result<u64, &'static str> {
    const LARGEST: f64 = (1_u64 << 50) as f64;
    let (number, unit) = split(text);
    let bytes_per_unit = match unit {
        "" | "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        "TiB" => (1_u64 << 40) as f64,
        "PiB" => (1_u64 << 50) as f64,
        "KB" | "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "K" | "k" | "M" | "m" | "G" | "g" | "Ki" | "Mi" | "Gi" => {
            return Err("write the unit out, as in KiB, MiB or GiB");
        }
        _ => return Err("the unit must be B, KiB, MiB, GiB, TiB, PiB, KB, MB or GB"),
    };
    let bytes = decimal(number)? * bytes_per_unit;
    if bytes > LARGEST {
        return Err("it is more than any machine has");
    }
    if bytes.fract() != 0.0 {
        return Err("it is not a whole number of bytes");
    }
    Ok(bytes as u64)
}

/// Writes a duration in the largest unit that needs no fraction.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

/// Writes a size in the largest binary unit that needs no fraction.
pub fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        1 => "1 byte".to_owned(),
        _ if bytes.is_multiple_of(1 << 50) => format!("{}PiB", bytes >> 50),
        _ if bytes.is_multiple_of(1 << 40) => format!("{}TiB", bytes >> 40),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    (text[..end].trim_end(), &text[end..])
}

/// A number without sign or exponent: what `f64` reads beyond that is a slip here.
fn decimal(text: &str) -> Result<f64, &'static str> {
    const WRONG: &str = "it must begin with a number, as in 5 or 1.5";
    if text.starts_with('-') {
        return Err("it cannot be negative");
    }
    let well_formed = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.len() <= 20;
    let digits_around = text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(|c: char| c.is_ascii_digit());
    if !well_formed || !digits_around {
        return Err(WRONG);
    }
    text.parse().map_err(|_| WRONG)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [("500ms", 500), ("1s", 1000), ("1.5s", 1500), ("5m", 300_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("1.1s"), Ok(Duration::from_millis(1100)));
        for wrong in ["", "5", "s", "-1s", "1e3s", "5 sec", "1s500ms", ".5s", "5.s", "1..5s", "inf s", "NaNs", "400d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("1MB", 1_000_000),
            ("1.5KiB", 1536),
            ("4096", 4096),
            ("1 GiB", 1 << 30),
            ("2TiB", 2 << 40),
            ("1PiB", 1 << 50),
            ("7B", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "MiB", "16MX", "16M", "-1", "0.3B", "1e9", "99999999999999999999", "64mib"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(millis in 1_u64..10_000_000, bytes in 1_u64..1 << 40) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(show_size(bytes).trim_end_matches("s").trim_end_matches(" byte")), Ok(bytes));
        }

        #[test]
        fn never_panics(text in "\\PC{0,12}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
