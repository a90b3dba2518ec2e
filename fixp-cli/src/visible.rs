//! Text that somebody else wrote, with nothing in it that plays with a terminal.

/// The text with its control characters as `\u{1b}` has them, but for the ends of lines.
pub(crate) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            visible.extend(character.escape_unicode());
        } else {
            visible.push(character);
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_lines_end() {
        assert_eq!(visible("a\u{1b}[2J\u{7f}\u{9b}\r\n\té"), "a\\u{1b}[2J\\u{7f}\\u{9b}\\u{d}\n\\u{9}é");
        assert_eq!(visible(""), "");
    }
}
