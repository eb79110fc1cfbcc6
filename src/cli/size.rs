//! Sizes, for people.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for people: a few digits are shown, and sizes are far below 2^53"
)]

/// The smallest brick that is worth its overhead.
const LEAST_BRICK: u64 = 64 << 10;
/// The longest brick (`formats/brick.md`).
const MOST_BRICK: u64 = 1 << 40;
/// Longer than any tape's.
const MOST_BLOCK: usize = 64 << 20;

/// A size such as `64M`, `1.5GiB` or `4096`: powers of 1024.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected a size such as 64M or 1.5GiB, found {text:?}");
    let digits = text
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().trim_end_matches("ib") {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        _ => return Err(wrong()),
    };
    if let Ok(number) = number.parse::<u64>() {
        return number.checked_mul(1 << shift).ok_or_else(wrong);
    }
    let number: f64 = number.parse().map_err(|_| wrong())?;
    // Below 2^53 a float is exact; nobody gives a fraction of a greater size.
    let size = number * (1_u64 << shift) as f64;
    if (0.0..9e15).contains(&size) {
        Ok(size as u64)
    } else {
        Err(wrong())
    }
}

/// A length of time such as `90s`, `12h`, `3d` or `2w`.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong =
        || format!("expected a length of time such as 90s, 30m, 12h, 3d or 2w, found {text:?}");
    let digits = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).ok_or_else(wrong)?;
    Ok(std::time::Duration::from_secs(seconds))
}

/// A size that a brick may have.
pub fn parse_brick_size(text: &str) -> Result<u64, String> {
    let size = parse(text)?;
    if (LEAST_BRICK..=MOST_BRICK).contains(&size) {
        return Ok(size);
    }
    Err(format!("expected 64K to 1T, found {text}"))
}

/// A size that a block of a tape or disk may have.
pub fn parse_block_size(text: &str) -> Result<usize, String> {
    match usize::try_from(parse(text)?) {
        Ok(size @ 512..=MOST_BLOCK) => Ok(size),
        _ => Err(format!("expected 512 to 64M, found {text}")),
    }
}

/// A size in three or four digits.
pub fn show(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] {
        if size < 1000.0 || unit == "PiB" {
            return match unit {
                "B" => format!("{bytes} B"),
                _ if size < 10.0 => format!("{size:.2} {unit}"),
                _ if size < 100.0 => format!("{size:.1} {unit}"),
                _ => format!("{size:.0} {unit}"),
            };
        }
        size /= 1024.0;
    }
    unreachable!("the last unit always returns")
}

/// So many of a thing, in words: `1 brick`, `2 bricks`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_in_powers_of_1024() {
        for (text, size) in [
            ("0", 0),
            ("4096", 4096),
            ("64M", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("2kb", 2048),
        ] {
            assert_eq!(parse(text), Ok(size), "{text}");
        }
        for text in [
            "",
            "M",
            "-1",
            "1X",
            "99999999999999999999",
            "1e3",
            "20000000T",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_of_time_have_a_unit() {
        for (text, seconds) in [("0s", 0), ("90 s", 90), ("2m", 120), ("3d", 259_200)] {
            assert_eq!(
                parse_duration(text).map(|age| age.as_secs()),
                Ok(seconds),
                "{text}"
            );
        }
        for text in ["", "3", "d", "-1d", "1y", "1.5d", "99999999999999999w"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_show_in_few_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "0.98 KiB"),
            (64 << 20, "64.0 MiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(show(bytes), text);
        }
    }
}
