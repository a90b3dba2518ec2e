//! Times as arguments: `5`, `0.5`, `200ms`, `2min`.

use std::time::Duration;

/// The longest time that is taken: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

const REFUSAL: &str = "not a time, such as 5 or 0.5 (seconds), 200ms or 2min";

/// Seconds, unless the unit says otherwise.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let seconds = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(REFUSAL.to_owned()),
    };
    let number: f64 = number.trim().parse().map_err(|_| REFUSAL.to_owned())?;
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(time) if time <= LONGEST => Ok(time),
        Ok(_) => Err("longer than a year".to_owned()),
        Err(_) => Err(REFUSAL.to_owned()),
    }
}

/// The same, and not nothing.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("no time at all".to_owned()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, milliseconds) in [
            ("0", 0),
            ("5", 5000),
            ("0.5", 500),
            (".5s", 500),
            ("200ms", 200),
            ("2min", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "-1", "1x", "1e9", "9000h", "inf", "nan", "1 2"] {
            assert!(time(text).is_err(), "{text}");
        }
        assert!(some_time("0").is_err());
        assert_eq!(some_time("1ms"), Ok(Duration::from_millis(1)));
    }
}
