//! The bytes of a simulated file, in pages that images share.
//!
//! Invariant: every page but the last is full, so that the length follows from the pages.

use std::sync::Arc;

const PAGE: usize = 4096;

/// See the file's comment. A clone costs one pointer a page, and a write to it the pages that it touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pages: Vec<Arc<Vec<u8>>>,
    /// When it was last written, in milliseconds since 1970.
    modified: i64,
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.len())
    }

    pub(super) fn modified(&self) -> i64 {
        self.modified
    }

    pub(super) fn set_modified(&mut self, modified: i64) {
        self.modified = modified;
    }

    /// Its bytes, in order.
    pub(super) fn pages(&self) -> impl Iterator<Item = &[u8]> {
        self.pages.iter().map(|page| &page[..])
    }

    /// Fills the buffer from `at`; returns how much there was.
    pub(super) fn read(&self, at: usize, buffer: &mut [u8]) -> usize {
        let end = self.len().min(at.saturating_add(buffer.len()));
        let mut from = at;
        while from < end {
            let (page, within) = (&self.pages[from / PAGE], from % PAGE);
            let count = (page.len() - within).min(end - from);
            buffer[from - at..from - at + count].copy_from_slice(&page[within..within + count]);
            from += count;
        }
        end.saturating_sub(at)
    }

    /// Writes over what stands at `at`, or behind it; a gap is filled with zeros.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if at > self.len() {
            self.set_len(at);
        }
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let (index, within) = (at / PAGE, at % PAGE);
            if index == self.pages.len() {
                self.pages.push(Arc::default());
            }
            let page = Arc::make_mut(&mut self.pages[index]);
            let (now, later) = rest.split_at(rest.len().min(PAGE - within));
            let over = now.len().min(page.len() - within);
            page[within..within + over].copy_from_slice(&now[..over]);
            page.extend_from_slice(&now[over..]);
            at += now.len();
            rest = later;
        }
    }

    /// Cuts the file, or extends it with zeros.
    pub(super) fn set_len(&mut self, len: usize) {
        let (whole, rest) = (len / PAGE, len % PAGE);
        if len < self.len() {
            self.pages.truncate(len.div_ceil(PAGE));
        } else {
            if let Some(last) = self.pages.last_mut().filter(|last| last.len() < PAGE) {
                Arc::make_mut(last).resize(PAGE, 0);
            }
            let zeros = Arc::new(vec![0; PAGE]);
            self.pages.resize(self.pages.len().max(len.div_ceil(PAGE)), zeros);
        }
        if rest > 0 && self.pages[whole].len() > rest {
            Arc::make_mut(&mut self.pages[whole]).truncate(rest);
        }
        assert_eq!(self.len(), len, "a length is taken as it was given");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does the same to a content and to a plain vector, and compares.
    fn check(steps: &[(usize, Option<usize>)]) {
        let (mut content, mut plain) = (Content::default(), Vec::new());
        for (i, (at, write)) in steps.iter().enumerate() {
            match write {
                Some(count) => {
                    let bytes = vec![u8::try_from(i + 1).unwrap(); *count];
                    content.write(*at, &bytes);
                    plain.resize(plain.len().max(at + count), 0);
                    plain[*at..at + count].copy_from_slice(&bytes);
                }
                None => {
                    content.set_len(*at);
                    plain.resize(*at, 0);
                }
            }
            assert_eq!(content.len(), plain.len(), "after step {i} of {steps:?}");
            let mut read = vec![9; plain.len() + 7];
            assert_eq!(content.read(0, &mut read), plain.len());
            assert_eq!(&read[..plain.len()], plain, "after step {i} of {steps:?}");
            assert_eq!(content.read(plain.len() + 1, &mut read), 0);
        }
    }

    #[test]
    fn a_content_is_what_a_plain_vector_would_be() {
        check(&[(0, Some(10)), (10, Some(5000)), (100, Some(9000)), (4096, None), (4096, Some(1)), (0, None)]);
        check(&[(9000, Some(3)), (5000, None), (8192, None), (8193, None), (20_000, None), (12_287, Some(2))]);
        check(&[(0, Some(4096)), (4096, Some(4096)), (8191, None), (8190, Some(4)), (3, None), (4097, None)]);
    }

    #[test]
    fn a_clone_does_not_see_later_writes() {
        let mut content = Content::default();
        content.write(0, &[1; 10_000]);
        let before = content.clone();
        content.write(5000, &[2; 10]);
        content.set_len(5005);
        let mut read = vec![0; 10_000];
        assert_eq!((before.len(), before.read(0, &mut read)), (10_000, 10_000));
        assert_eq!(read, [1; 10_000]);
    }
}
