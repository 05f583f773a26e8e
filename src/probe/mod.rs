//! Rare branches that say they were taken, and guards that a test takes out.
//!
//! Named where the branch or the guard stands; read by the simulation. Invariant: without the feature `mutants` a mark
//! is nothing and no guard is ever out, so a release build holds neither. What is planted or counted belongs to a
//! thread: simulations side by side do not see each other. The threads that it makes take over what is planted, so that
//! a test sees to all of its nodes. What `OTTLA_MUTANT` names is out in the whole process.

mod mark;
mod mutant;

pub use mark::Mark;
pub use mutant::{Mutant, Plane};

#[cfg(any(test, feature = "mutants"))]
mod state {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use super::{Mark, Mutant};

    thread_local! {
        static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
        static MARKS: RefCell<BTreeMap<Mark, u64>> = const { RefCell::new(BTreeMap::new()) };
    }

    /// Takes one guard out of this thread's world, or puts all back.
    pub fn plant(mutant: Option<Mutant>) {
        PLANTED.set(mutant);
    }

    /// Takes out on another thread what is out on this one: to be called there, first of all.
    pub fn inheritance() -> impl Fn() + Clone + Send + Sync + 'static {
        let planted = PLANTED.get();
        move || plant(planted)
    }

    /// How often each branch was taken on this thread since it was last asked.
    #[must_use]
    pub fn take_marks() -> BTreeMap<Mark, u64> {
        MARKS.take()
    }

    /// A branch was taken.
    pub fn mark(mark: Mark) {
        MARKS.with_borrow_mut(|marks| *marks.entry(mark).or_default() += 1);
    }

    /// Whether this guard is out.
    #[must_use]
    pub fn planted(mutant: Mutant) -> bool {
        PLANTED.get().or_else(of_this_process) == Some(mutant)
    }

    /// What is out on every thread: with `OTTLA_MUTANT=<name> cargo test --lib` some unit test should notice, and a
    /// whole node is started so.
    fn of_this_process() -> Option<Mutant> {
        static NAMED: std::sync::OnceLock<Option<Mutant>> = std::sync::OnceLock::new();
        *NAMED.get_or_init(|| {
            let name = std::env::var("OTTLA_MUTANT").ok()?;
            Some(Mutant::named(&name).expect("OTTLA_MUTANT is the name of a mutant"))
        })
    }
}

#[cfg(any(test, feature = "mutants"))]
pub use state::{inheritance, mark, plant, planted, take_marks};

/// A branch was taken.
#[cfg(not(any(test, feature = "mutants")))]
#[inline(always)]
pub const fn mark(_: Mark) {}

/// What another thread takes over from this one: nothing.
#[cfg(not(any(test, feature = "mutants")))]
#[inline(always)]
pub const fn inheritance() -> impl Fn() + Clone + Send + Sync + 'static {
    || {}
}

/// Whether this guard is out: never.
#[cfg(not(any(test, feature = "mutants")))]
#[inline(always)]
#[must_use]
pub const fn planted(_: Mutant) -> bool {
    false
}
