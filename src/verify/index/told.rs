//! Facts of a history as words, for messages.
//!
//! Invariant: a message names who, where and when, so that the place in a trace can be found.

use std::fmt;

use super::{Reader, Reading};
use crate::verify::history::{Poll, Send};

/// A write in words.
pub(crate) const fn sent(send: &Send) -> impl fmt::Display {
    Sent(send)
}

/// A read in words.
pub(crate) const fn read_by(poll: &Poll) -> impl fmt::Display {
    ReadBy(poll)
}

/// A record in words.
pub(crate) const fn at_offset<'h>(reading: &'h Reading<'h>) -> impl fmt::Display + 'h {
    AtOffset(reading)
}

struct Sent<'h>(&'h Send);

impl fmt::Display for Sent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Send { value, client, partition, class, invoked, .. } = self.0;
        write!(f, "value {} of client {} for {partition}, sent at {invoked}, {class:?}", value.0, client.0)?;
        if let Some(returned) = self.0.returned {
            write!(f, " at {returned}")?;
        }
        if let Some(offset) = self.0.offset {
            write!(f, " with offset {offset}")?;
        }
        if let Some((node, epoch)) = self.0.answered_by {
            write!(f, " by node {node} in epoch {epoch}")?;
        }
        Ok(())
    }
}

struct ReadBy<'h>(&'h Poll);

impl fmt::Display for ReadBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Poll { client, incarnation, node, as_leader, leader_epoch, position, .. } = self.0;
        let (invoked, returned) = (self.0.invoked, self.0.returned);
        let role = if *as_leader { "leader" } else { "follower" };
        let client = client.0;
        write!(f, "client {client}/{incarnation} at position {position} from {role} {node} in epoch {leader_epoch}")?;
        write!(f, ", {invoked} to {returned}")
    }
}

struct AtOffset<'h>(&'h Reading<'h>);

impl fmt::Display for AtOffset<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.0.seen;
        match seen.value {
            Some(value) => write!(f, "value {}", value.0)?,
            None => write!(f, "no sound value")?,
        }
        write!(f, " at offset {} of epoch {}", seen.offset, seen.epoch)?;
        match self.0.by {
            Reader::Poll(poll) => write!(f, ", read by {}", ReadBy(poll)),
            Reader::Scan => write!(f, ", read at the end"),
        }
    }
}
