//! The rules of ARCHITECTURE.md and docs/STYLE.md that a machine can check, as tests.

mod layers;
mod probes;
mod purity;
mod source;
mod tidy;
