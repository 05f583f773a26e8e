//! Lines for whoever sits at the terminal, which may be gone.
//!
//! Called by the commands. Invariant: a line that nobody can read ends nothing; `dev` has a cluster to keep, and the
//! standard library's macros panic.

use std::fmt::Display;
use std::io::{Write as _, stderr, stdout};

/// Writes a line to standard output.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}

/// Writes a line to standard error.
pub(super) fn complain(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}
