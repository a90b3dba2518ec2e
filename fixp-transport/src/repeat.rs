//! What of a request may be sent again.

/// What of a request a [`Channel`](crate::Channel), or a client of [KEEP UDP](crate::keep), may send again when nobody
/// knows whether it was executed (SPEC 9.9, 9.14). How often and after how much silence is theirs to know.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Repeat {
    /// Nothing, whatever is lost: nobody executes it twice.
    ///
    /// Over KEEP UDP to one of the programs each piece leaves once but for what the program asks for by name, and so
    /// one datagram that the network loses may end the request by its time.
    Never,
    /// What KEEP UDP may lose on the way, as the programs' own clients do; where that is no question, nothing.
    ///
    /// A peer of ours executes it once, whatever comes. One of the programs executes each whole copy that comes: twice,
    /// if all that it had said to the first one was lost, and in lexst1, which says nothing before its answer, if it
    /// works at the first one for longer than 15 s.
    #[default]
    Pieces,
    /// All of it, within its time: repeating it is harmless. It goes again over the next connection or association, and
    /// where KEEP UDP has it in one datagram that is no piece (SPEC 9.4), too; but not over a connection where the one
    /// before ended by what cannot be read, or what nobody asked for, as that would come again.
    Harmless,
}
