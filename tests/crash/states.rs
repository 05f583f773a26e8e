//! Every state that a crash may leave at every point of a trace: each is started on, once, and judged.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ottla::testing::{CrashPoint, SimulatedFiles};

use crate::guard::Broken;
use crate::model::Phase;
use crate::run::{Recorded, record};
use crate::start::start;
use crate::step::{Random, Step};

/// How many of the ways in which the waiting operations can end are tried at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Each, where that takes less than a night.
    All,
    /// Each, up to a number that most points stay below.
    Usual,
    /// A few hundred: to find what is wrong in few places.
    Sampled,
    /// A few: to find what is wrong everywhere.
    Glance,
}

/// How much was judged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) points: usize,
    /// States that differ in some byte that a start can see.
    pub(crate) states: usize,
    /// Starts, those after a crash in a start included.
    pub(crate) starts: usize,
}

/// One state in so many is also crashed at each point of the start on it, and worked with.
const DEEP_EVERY: usize = 41;
/// At each point of a start so many of the ways are tried.
const DEEP_WAYS: usize = 6;

impl Depth {
    /// Up to how many ways each of them is tried, and else how many of them.
    fn bounds(self) -> (usize, usize) {
        match self {
            Self::All => (1 << 20, 1 << 14),
            Self::Usual => (1 << 12, 1 << 11),
            Self::Sampled => (1 << 9, 1 << 9),
            Self::Glance => (1 << 4, 1 << 4),
        }
    }
}

/// Carries out a trace and judges all of its crash points, or says what is wrong.
pub(crate) fn judge(steps: &[Step], broken: Option<Broken>, depth: Depth) -> Result<Counts, String> {
    let recorded = catch(|| record(steps, broken))?;
    let mut judge = Judge {
        recorded: &recorded,
        broken,
        counts: Counts::default(),
        judged: BTreeSet::new(),
        states: BTreeSet::new(),
    };
    for number in 0..recorded.points.len() {
        judge.point(number, depth)?;
    }
    judge.counts.states = judge.states.len();
    Ok(judge.counts)
}

/// A panic is a finding, too.
pub(crate) fn catch<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Err(format!("a panic: {}", text.unwrap_or_default()))
    })
}

struct Judge<'a> {
    recorded: &'a Recorded,
    broken: Option<Broken>,
    counts: Counts,
    /// Which states were judged by which phase.
    judged: BTreeSet<(usize, u64)>,
    states: BTreeSet<u64>,
}

impl Judge<'_> {
    fn point(&mut self, number: usize, depth: Depth) -> Result<(), String> {
        let point = &self.recorded.points[number];
        let (at, phase) = self.recorded.phase(number);
        let ways = point.ways();
        let mut outcomes = point.outcomes();
        let (exhaustive_max, sample) = depth.bounds();
        self.counts.points += 1;
        for ends in choices(&ways, exhaustive_max, sample, number) {
            let digest = outcomes.digest(&ends);
            if !self.judged.insert((at, digest)) {
                continue;
            }
            self.states.insert(digest);
            let is_deep = self.judged.len() % DEEP_EVERY == 1;
            let files = outcomes.after(&ends);
            self.counts.starts += catch(|| self.state(&files, phase, is_deep))
                .map_err(|e| format!("crash point {number}, operations end {ends:?} of {ways:?}: {e}"))?;
        }
        Ok(())
    }

    fn state(&self, files: &SimulatedFiles, phase: &Phase, is_deep: bool) -> Result<usize, String> {
        if is_deep {
            files.record();
        }
        let length = self.length(files);
        let started = start(files, phase.topic)?;
        let seen = started.look()?;
        phase.judge(&seen)?;
        if length > started.log.size_bytes() && self.broken == Some(Broken::LengthsTrusted) {
            return Err(format!("{length} bytes count, {} were written", started.log.size_bytes()));
        }
        if !is_deep {
            return Ok(1);
        }
        let starts = crash_in_start(&files.take_recorded(), phase, &seen.log)?;
        started.work(files, seen.log)?;
        Ok(1 + starts)
    }

    /// How many bytes the files of the log's segments have.
    fn length(&self, files: &SimulatedFiles) -> u64 {
        if self.broken != Some(Broken::LengthsTrusted) {
            return 0;
        }
        let segments = files.files_under(std::path::Path::new("/data/topic-0")).into_iter();
        segments.filter(|(path, _)| path.extension().is_some_and(|e| e == "log")).map(|(_, len)| len).sum()
    }
}

/// A start after a crash in a start finds the same.
fn crash_in_start(points: &[CrashPoint], phase: &Phase, first: &crate::model::SeenLog) -> Result<usize, String> {
    let mut judged = BTreeSet::new();
    for (number, point) in points.iter().enumerate() {
        let mut outcomes = point.outcomes();
        for ends in choices(&point.ways(), DEEP_WAYS, DEEP_WAYS, number) {
            if !judged.insert(outcomes.digest(&ends)) {
                continue;
            }
            let context = |e: String| format!("a crash in a start, at its point {number}, ends {ends:?}: {e}");
            let second = start(&outcomes.after(&ends), phase.topic).and_then(|s| s.look()).map_err(context)?;
            phase.judge(&second).map_err(context)?;
            if second.log != *first {
                return Err(context(format!("{:?}, not {first:?}", second.log)));
            }
        }
    }
    Ok(judged.len())
}

/// All combinations of ways, or a sample: what a single operation does to all others, then at random.
pub(crate) fn choices(
    ways: &[usize],
    exhaustive_max: usize,
    sample: usize,
    seed: usize,
) -> Box<dyn Iterator<Item = Vec<usize>> + '_> {
    let product = ways.iter().try_fold(1_usize, |product, n| product.checked_mul(*n).filter(|p| *p <= exhaustive_max));
    if let Some(product) = product {
        return Box::new((0..product).map(|i| digits(ways, i)));
    }
    let mut random = Random::new(u64::try_from(seed).unwrap());
    let drawn = std::iter::repeat_with(move || ways.iter().map(|n| random.below(*n)).collect());
    Box::new(systematic(ways).chain(drawn).take(sample))
}

/// Nothing, everything; what was asked for first; all but one; one alone; all but two.
fn systematic(ways: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let count = ways.len();
    let with = move |base: usize, at: usize, end: usize| {
        let mut ends = vec![base; count];
        ends[at] = end;
        ends
    };
    let extremes = [vec![0; count], vec![1; count]].into_iter();
    let each = move || (0..count).flat_map(move |at| (0..ways[at]).map(move |end| (at, end)));
    let prefixes = each().map(move |(at, end)| {
        let mut ends = with(0, at, end);
        ends[..at].fill(1);
        ends
    });
    let singles = each().flat_map(move |(at, end)| [with(1, at, end), with(0, at, end)]);
    let pairs = (0..count).flat_map(move |one| {
        (one + 1..count).map(move |other| {
            let mut ends = with(1, one, 0);
            ends[other] = 0;
            ends
        })
    });
    extremes.chain(prefixes).chain(singles).chain(pairs)
}

fn digits(ways: &[usize], mut number: usize) -> Vec<usize> {
    let digit = |n: &usize| {
        let digit = number % n;
        number /= n;
        digit
    };
    ways.iter().map(digit).collect()
}
