//! Everything on one thread: what has a thread of its own elsewhere is a task of its host's runtime here.
//!
//! Invariant: nothing here blocks, reads a clock or asks for chance that has no seed. A host's "process" ends by a note, after which the
//! simulation takes the host down; until then the part that ended it does nothing more.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A process that has ended itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Of which host; empty when that is not known.
    pub host: String,
    /// Why.
    pub why: String,
    /// Whether by a panic, which is always a fault of ours.
    pub is_panic: bool,
}

#[derive(Default)]
struct Register {
    /// Hosts by the ids of their runtimes.
    hosts: Vec<(tokio::runtime::Id, String)>,
    deaths: Vec<Death>,
    paces: BTreeMap<String, Pace>,
    /// Threads of hosts that hang, by the beginnings of their names.
    hung: BTreeSet<(String, String)>,
}

/// How long a host's threads take for what takes no time here.
#[derive(Clone, Debug)]
pub struct Pace {
    /// A turn takes as long at most; mostly far less.
    pub longest: Duration,
    /// Where the chance of it comes from.
    pub seed: u64,
    /// No turn ends: the disk hangs.
    pub hangs: bool,
}

impl Pace {
    fn next(&mut self) -> Duration {
        // An LCG of Knuth's; of its bits the upper ones are good.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = u32::try_from(self.seed >> 48).expect("16 bits");
        // The fourth power: half of the turns take less than a sixteenth of the longest.
        let share = f64::from(share) / f64::from(1_u32 << 16);
        self.longest.mul_f64(share.powi(4))
    }
}

impl Register {
    fn host(&self, id: Option<tokio::runtime::Id>) -> String {
        let host = self.hosts.iter().find(|(known, _)| Some(*known) == id).map(|(_, name)| name.clone());
        host.unwrap_or_default()
    }
}

thread_local! {
    static REGISTER: RefCell<Register> = RefCell::default();
}

/// Says that the current runtime is that of `host`.
pub fn name_host(host: &str) {
    let id = Handle::current().id();
    REGISTER.with_borrow_mut(|register| {
        register.hosts.retain(|(_, name)| name != host);
        register.hosts.push((id, host.to_owned()));
    });
}

/// The host whose runtime this is; empty outside of one.
#[must_use]
pub fn host_name() -> String {
    let id = Handle::try_current().ok().map(|handle| handle.id());
    REGISTER.with_borrow(|register| register.host(id))
}

/// Who has ended itself since this was asked last.
#[must_use]
pub fn deaths() -> Vec<Death> {
    REGISTER.with_borrow_mut(|register| std::mem::take(&mut register.deaths))
}

/// Sets how fast a host is; before, everything takes no time.
pub fn set_pace(host: &str, pace: Pace) {
    REGISTER.with_borrow_mut(|register| register.paces.insert(host.to_owned(), pace));
}

/// A host's disk hangs, or goes on.
pub fn hang(host: &str, hangs: bool) {
    REGISTER.with_borrow_mut(|register| {
        if let Some(pace) = register.paces.get_mut(host) {
            pace.hangs = hangs;
        }
    });
}

/// The threads of a host whose names begin so hang, or go on.
pub fn hang_threads(host: &str, name: &str, hangs: bool) {
    REGISTER.with_borrow_mut(|register| {
        let place = (host.to_owned(), name.to_owned());
        if hangs { register.hung.insert(place) } else { register.hung.remove(&place) }
    });
}

/// Takes as long as a turn of this thread takes on this host.
pub async fn take_time(name: &str) {
    /// How often a hanging disk is looked at.
    const LOOK: Duration = Duration::from_millis(5);
    let host = host_name();
    let turn = REGISTER.with_borrow_mut(|register| register.paces.get_mut(&host).map(Pace::next));
    tokio::time::sleep(turn.unwrap_or_default()).await;
    let hangs = |register: &Register| {
        let is_hung = register.hung.iter().any(|(of, beginning)| *of == host && name.starts_with(beginning));
        is_hung || register.paces.get(&host).is_some_and(|pace| pace.hangs)
    };
    while REGISTER.with_borrow(hangs) {
        tokio::time::sleep(LOOK).await;
    }
}

fn note(why: &str, is_panic: bool) {
    let id = Handle::try_current().ok().map(|handle| handle.id());
    REGISTER.with_borrow_mut(|register| {
        let host = register.host(id);
        // The unwinding that ends a process is no second death.
        if !register.deaths.iter().any(|death| death.host == host) {
            register.deaths.push(Death { host, why: why.to_owned(), is_panic });
        }
    });
}

/// Runs the work as a task.
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(async move {
        take_time("blocking").await;
        work()
    })
}

/// Gives what comes in `inbox` to `carry_out`, one by one, in a task.
pub fn serve<T: Send + 'static>(
    name: &str,
    mut inbox: mpsc::Receiver<T>,
    mut carry_out: impl FnMut(T) -> ControlFlow<()> + Send + 'static,
) {
    let name = name.to_owned();
    tokio::spawn(async move {
        while let Some(order) = inbox.recv().await {
            take_time(&name).await;
            if carry_out(order).is_break() {
                return;
            }
        }
    });
}

/// The host's runtime.
#[derive(Debug)]
pub struct OwnRuntime {
    handle: Handle,
}

impl OwnRuntime {
    /// The current runtime, whatever is asked for.
    #[must_use]
    pub fn new(_name: &str, _count: usize, _blocking_max: usize) -> Self {
        Self { handle: Handle::current() }
    }

    /// Where to spawn.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// A future in a task.
#[derive(Debug)]
pub struct Apart;

/// Makes a future and runs it in a task.
///
/// # Errors
/// What `make` says.
pub fn run_apart<F, E>(_name: &str, _blocking_max: usize, make: impl FnOnce() -> Result<F, E>) -> Result<Apart, E>
where
    F: Future<Output = ()> + Send + 'static,
    E: From<io::Error>,
{
    tokio::spawn(make()?);
    Ok(Apart)
}

impl Apart {
    /// It ends when it was told to; on one thread nobody can wait for it here.
    pub fn join(self) {}
}

/// Notes that this host's process has ended, and stops the task that calls it.
pub fn end_process(why: &str) -> ! {
    note(why, false);
    std::panic::resume_unwind(Box::new("the simulated process has ended"));
}

/// Notes that this host's process has ended by a panic.
pub fn panicked(part: &str) {
    note(part, true);
}

/// A future whose `end_process` ends no more than its own process: it then waits for the host to be taken down.
pub async fn guarded<F: Future<Output = ()>>(future: F) {
    if AssertUnwindSafe(future).catch_unwind().await.is_err() {
        std::future::pending::<()>().await;
    }
}
