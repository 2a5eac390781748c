//! The binary: a shell over the library.

fn main() -> std::process::ExitCode {
    symbolon::cli::main()
}
