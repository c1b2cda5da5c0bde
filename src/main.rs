//! The program: everything is in the library.

/// An entry is made by one thread and dropped by another, at which the system's allocator spends
/// a fifth of the time of a pull.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    dirsyncd::cli::main()
}
