//! The first head of a connection whose dialect is not known: gathered whole, since its last message tells
//! (SPEC 6.2).

use fixp_codec::{Code, Command, Dialect};

/// The head so far.
#[derive(Debug)]
pub(super) struct Sniffer {
    head: Vec<u8>,
    /// Where the next step ends.
    need: usize,
    step: Step,
    /// The messages that have not come.
    messages: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Tag,
    Command,
    MessageHead,
    Value,
}

/// What has come of it.
#[derive(Debug)]
pub(super) enum Sniffed {
    /// The input is used up.
    More,
    /// A whole head, and what it tells.
    Head(Vec<u8>, Option<&'static Dialect>),
    /// Whatever this is, it is not the head of a packet, or it is too long for one.
    Bad(Vec<u8>),
}

impl Sniffer {
    pub(super) const fn new() -> Self {
        Self { head: Vec::new(), need: 1, step: Step::Tag, messages: 0 }
    }

    /// The bytes that it holds, and the room for more of them.
    #[cfg(feature = "properties")]
    pub(super) const fn held(&self) -> usize {
        self.head.capacity()
    }

    /// Takes bytes from the front of `input`, none behind the head.
    pub(super) fn take(&mut self, input: &mut &[u8], limit: usize) -> Sniffed {
        while let Some((taken, rest)) = input.split_at_checked(self.need - self.head.len()) {
            self.head.extend_from_slice(taken);
            *input = rest;
            if !self.advance() || self.need > limit.max(Command::WIRE_LEN) {
                return Sniffed::Bad(std::mem::take(&mut self.head));
            }
            if self.need == self.head.len() {
                let head = std::mem::take(&mut self.head);
                let dialect = Dialect::detect(&head);
                return Sniffed::Head(head, dialect);
            }
        }
        self.head.extend_from_slice(input);
        *input = &[];
        Sniffed::More
    }

    /// The bytes of a step have come: sets the next one, or none at the end of the head. Tells whether this
    /// can be a head.
    fn advance(&mut self) -> bool {
        match self.step {
            Step::Tag => {
                self.step = Step::Command;
                self.need = Command::WIRE_LEN;
                matches!(self.head[..], [Code::REQUEST_TAG | Code::ANSWER_TAG])
            }
            Step::Command => {
                if let [.., low, high] = self.head[..] {
                    self.messages = u16::from_le_bytes([low, high]);
                }
                self.message();
                true
            }
            Step::MessageHead => {
                let length = match self.head[..] {
                    [.., low, high] => usize::from(u16::from_le_bytes([low, high]) & 0xfff),
                    _ => 0,
                };
                self.step = Step::Value;
                self.need += length;
                if length == 0 {
                    self.message();
                }
                true
            }
            Step::Value => {
                self.message();
                true
            }
        }
    }

    /// The next step is a message, if there is one more.
    const fn message(&mut self) {
        if self.messages > 0 {
            self.messages -= 1;
            self.step = Step::MessageHead;
            self.need += 4;
        }
    }
}
