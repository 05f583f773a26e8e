//! The one binary: reads the command line and hands over to `cli`.

/// jemalloc gives memory back, and maps a large request without reserving it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    ottla::cli::run()
}
