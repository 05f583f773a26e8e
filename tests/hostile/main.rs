//! A live node under a million mutated requests (reliability section 6).
mod random;
mod apis;
mod world;
mod vocabulary;
mod batches;
mod bombs;
mod lies;
mod draft;
mod mutate;
mod tame;
mod expect;
mod streams;
mod attack;
