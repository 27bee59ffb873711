//! The program: `tinamou`, which also answers as `tinamou-system-riscv64`, `qemu-system-riscv64` and
//! `tinamou-snapshot`.

fn main() -> std::process::ExitCode {
    tinamou::run()
}
