//! Over random operations: what was synced no power cut takes back, and two runs are the same.

use proptest::prelude::*;

use super::*;

/// A number for each choice that a step has to make.
type Step = [u16; 3];

/// What must be there after any power cut, of one file.
#[derive(Clone, Debug, Default)]
struct Expected {
    /// Whether its name was synced since it was last given or taken.
    named: Option<bool>,
    /// What the file held at its last sync; `None` where it was written or cut since.
    bytes: Vec<Option<u8>>,
}

const PATHS: [&str; 3] = ["/a", "/b", "/c"];

struct Run {
    files: SimulatedFiles,
    open: [Option<Arc<dyn File>>; 3],
    expected: [Expected; 3],
    digests: Vec<u64>,
    random: u64,
}

impl Run {
    fn new() -> Self {
        let (open, expected) = (Default::default(), Default::default());
        Self { files: SimulatedFiles::default(), open, expected, digests: Vec::new(), random: 1 }
    }

    fn step(&mut self, [what, which, how]: Step) {
        let which = usize::from(which) % 3;
        let (path, how) = (Path::new(PATHS[which]), u64::from(how));
        match what % 10 {
            0 => self.files.sync_dir(Path::new("/")).map(|()| self.names_synced()).unwrap(),
            1 if self.files.exists(path).unwrap() => {
                self.files.remove_file(path).unwrap();
                self.open[which] = None;
                self.expected[which] = Expected::default();
            }
            2 => self.crash(how),
            _ => {
                let file = self.file(which);
                match what % 10 {
                    3 | 4 => {
                        file.sync_data().unwrap();
                        self.expected[which].bytes =
                            content(&self.files, PATHS[which]).unwrap().into_iter().map(Some).collect();
                    }
                    5 => {
                        file.set_len(how % 6000).unwrap();
                        self.touch(which, how % 6000, u64::MAX);
                    }
                    _ => {
                        let (position, count) = (how % 6000, 1 + how * 7 % 1500);
                        let byte = u8::try_from(how % 255).unwrap() + 1;
                        file.write_at(position, &[&vec![byte; usize::try_from(count).unwrap()]]).unwrap();
                        self.touch(which, position, position + count);
                    }
                }
            }
        }
        self.check_counts();
        self.digests.push(self.files.digest());
    }

    fn file(&mut self, which: usize) -> Arc<dyn File> {
        let path = Path::new(PATHS[which]);
        if !self.files.exists(path).unwrap() {
            self.expected[which] = Expected::default();
        }
        let files = &self.files;
        self.open[which].get_or_insert_with(|| files.open(path, OpenMode::Create).unwrap()).clone()
    }

    fn names_synced(&mut self) {
        for (expected, path) in self.expected.iter_mut().zip(PATHS) {
            expected.named = Some(self.files.exists(Path::new(path)).unwrap());
        }
    }

    fn touch(&mut self, which: usize, from: u64, to: u64) {
        let in_range = |at: usize| (from..to).contains(&u64::try_from(at).unwrap());
        let bytes = self.expected[which].bytes.iter_mut().enumerate();
        bytes.filter(|(at, _)| in_range(*at)).for_each(|(_, byte)| *byte = None);
    }

    fn crash(&mut self, how: u64) {
        let survival = [Survival::Nothing, Survival::Everything, Survival::Prefix, Survival::Any];
        let survival = survival[usize::try_from(how % 4).unwrap()];
        self.random += how;
        let random = &mut self.random;
        let mut pick = |below: usize| {
            *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(*random >> 33).unwrap() % below
        };
        let after = self.files.crash_point().random(survival, &mut pick);
        if survival == Survival::Everything {
            assert_eq!(after.digest(), self.files.digest());
        }
        if survival == Survival::Nothing {
            assert_eq!(after.digest(), self.files.durable().digest());
        }
        for (expected, path) in self.expected.iter().zip(PATHS) {
            check_kept(expected, content(&after, path), survival);
        }
        self.files = after;
        self.open = Default::default();
        for (expected, path) in self.expected.iter_mut().zip(PATHS) {
            let found = content(&self.files, path);
            expected.named = Some(found.is_some());
            expected.bytes = found.unwrap_or_default().into_iter().map(Some).collect();
        }
    }

    /// What is counted along the way is what a look at everything finds.
    fn check_counts(&self) {
        let all: u64 = self.files.files_under(Path::new("/")).iter().map(|(_, len)| len).sum();
        assert_eq!(self.files.used_bytes(), all);
        let again = self.files.snapshot();
        assert_eq!((again.digest(), again.used_bytes(), again.dirty_bytes()), (self.files.digest(), all, 0));
    }
}

fn check_kept(expected: &Expected, found: Option<Vec<u8>>, survival: Survival) {
    match expected.named {
        Some(is_there) => assert_eq!(found.is_some(), is_there, "{survival:?}"),
        None => return,
    }
    let found = found.unwrap_or_default();
    for (at, byte) in expected.bytes.iter().enumerate() {
        assert!(byte.is_none() || found.get(at) == byte.as_ref(), "byte {at} after {survival:?}");
    }
}

fn run(steps: &[Step]) -> Vec<u64> {
    let mut run = Run::new();
    steps.iter().for_each(|step| run.step(*step));
    run.digests
}

proptest! {
    #[test]
    fn what_was_synced_no_power_cut_takes_back_and_two_runs_are_the_same(
        steps in prop::collection::vec(any::<Step>(), 1..60),
    ) {
        prop_assert_eq!(run(&steps), run(&steps));
    }
}
