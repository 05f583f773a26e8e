//! The fewest faults that still make a seed fail in the same way.

use super::{Arguments, plan, run};

/// Takes faults away, half of them at first, while one of the invariants that fell still does; prints what is left.
pub(super) fn print(seed: u64, arguments: &Arguments) {
    let whole = plan(seed, arguments);
    let fallen = run(whole.clone()).fallen();
    let fails = |kept: &[usize]| {
        let mut fewer = whole.clone();
        fewer.keep(kept);
        run(fewer).fallen().iter().any(|name| fallen.contains(name))
    };
    let mut kept: Vec<usize> = (0..whole.steps.len()).collect();
    let mut size = kept.len() / 2;
    while size > 0 {
        let mut begin = 0;
        while begin < kept.len() {
            let end = (begin + size).min(kept.len());
            let rest: Vec<usize> = kept[..begin].iter().chain(&kept[end..]).copied().collect();
            if fails(&rest) {
                kept = rest;
            } else {
                begin = end;
            }
        }
        size /= 2;
    }
    // By their numbers in the whole plan.
    let numbers: Vec<usize> = match &arguments.only {
        Some(only) => kept.iter().map(|place| only[*place]).collect(),
        None => kept.clone(),
    };
    let options = super::options(&Arguments { only: Some(numbers), ..arguments.clone() });
    println!("{} of its {} faults are enough:", kept.len(), whole.steps.len());
    for number in kept {
        println!("  {:?} {:?}", whole.steps[number].when, whole.steps[number].fault);
    }
    println!("every line of it: scripts/sim --seed {seed}{options} --lines");
}
