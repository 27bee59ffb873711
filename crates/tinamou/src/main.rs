//! The program: `tinamou`, which also answers as `tinamou-system-riscv64` and `qemu-system-riscv64`.

fn main() -> std::process::ExitCode {
    tinamou::run()
}
