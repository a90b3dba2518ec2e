//! Which vectors are run.

use crate::vector::{Class, Vector};

/// A selection. Each list that is not empty must have an element that fits; nothing given selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Select {
    /// Parts of ids, or patterns for whole ids with `*` (anything) and `?` (one character).
    pub ids: Vec<String>,
    /// Dialects.
    pub dialects: Vec<String>,
    /// Kinds, by name.
    pub kinds: Vec<String>,
    /// Classes.
    pub classes: Vec<Class>,
}

impl Select {
    /// Whether a vector is selected.
    pub fn takes(&self, vector: &Vector) -> bool {
        fits(&self.ids, |pattern| id_fits(pattern, &vector.id))
            && fits(&self.dialects, |dialect| *dialect == vector.dialect)
            && fits(&self.kinds, |kind| kind == vector.kind.name())
            && fits(&self.classes, |class| *class == vector.class)
    }
}

fn fits<T>(list: &[T], fits: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(fits)
}

fn id_fits(pattern: &str, id: &str) -> bool {
    if pattern.contains(['*', '?']) {
        glob_fits(pattern.as_bytes(), id.as_bytes())
    } else {
        id.contains(pattern)
    }
}

/// On a mismatch only the last `*` is tried again with one more byte: earlier ones need no second try, so
/// this is never exponential.
fn glob_fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, start)) = retry else { return false };
                p = after_star;
                t = start + 1;
                retry = Some((after_star, start + 1));
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fit_by_part_or_by_pattern() {
        let id = "laxcus6/message/int32-0";
        for pattern in
            ["int32", "laxcus6/", id, "*", "laxcus6/*", "*/int32-?", "*message*", "laxcus6/*/int*0*"]
        {
            assert!(id_fits(pattern, id), "{pattern}");
        }
        for pattern in ["int64", "laxcus6", "?axcus6", "message*", "*/int32-", "laxcus6/?/int32-0"] {
            assert_eq!(id_fits(pattern, id), pattern == "laxcus6", "{pattern}");
        }
    }

    #[test]
    fn many_stars_are_not_slow() {
        assert!(!glob_fits("*a".repeat(200).as_bytes(), "a".repeat(199).as_bytes()));
        assert!(!glob_fits(format!("{}b", "*a".repeat(100)).as_bytes(), "a".repeat(20_000).as_bytes()));
    }
}
