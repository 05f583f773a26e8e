//! The judge is judged: by legal histories that it must let pass, and by broken ones that it must not.

mod random;
mod model;
mod legal;
mod compacted;
mod mutations;
mod brute;
mod twin;
mod sketch;
mod oddities;
mod rules;
mod live;
mod members;
