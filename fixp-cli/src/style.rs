//! The colours.

use anstyle::{AnsiColor, Style};
use fixp_codec::explain::Styles;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();

/// The same colours as the texts that the codec wants around its parts.
pub(crate) const DUMP: Styles = Styles {
    offset: ["\x1b[2m", "\x1b[0m"],
    bytes: ["", ""],
    path: ["\x1b[36m", "\x1b[0m"],
    error: ["\x1b[1m\x1b[31m", "\x1b[0m"],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dump_has_the_same_colours() {
        let codes = |style: Style| [style.render().to_string(), style.render_reset().to_string()];
        assert_eq!(DUMP.offset, codes(DIM).each_ref().map(String::as_str));
        assert_eq!(DUMP.path, codes(NAME).each_ref().map(String::as_str));
        assert_eq!(DUMP.error, codes(ERROR).each_ref().map(String::as_str));
    }
}
