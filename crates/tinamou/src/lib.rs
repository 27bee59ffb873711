//! The command lines, and the wiring of it all.
#![forbid(unsafe_code)]

mod background;
mod commands;
mod control;
mod debugger;
mod device_events;
mod disk_faults;
mod jobs;
mod launch;
mod lines;
mod lists;
mod machine_properties;
pub mod options;
mod plug;
mod qtest;
mod recording;
mod report;
mod run_with;
mod sandbox;
mod saving;
mod snapshot_tool;
mod symbols;
mod travel;

use options::{Config, split};
use report::Style;
use std::process::ExitCode;

/// Runs the program; the arguments are those of the process.
pub fn run() -> ExitCode {
    let mut words = std::env::args_os().map(|w| w.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_else(|| "tinamou".into());
    let program = program.rsplit('/').next().unwrap_or(&program).to_owned();
    // A panic is a mistake of ours, but the terminal is the user's; and a machine that has lost a thread must not go on.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        backends::char::restore_terminal();
        hook(info);
        std::process::abort();
    }));
    if program == "tinamou-snapshot" {
        return snapshot_tool::run(&words.collect::<Vec<_>>());
    }
    report::set(Style { program: program.clone(), ..Style::default() });
    base::log::set_voice(|text| report::say(text));
    let mut warnings = Vec::new();
    let config = split(words).and_then(|given| Config::gather(given, &mut warnings));
    for warning in &warnings {
        report::say(warning);
    }
    let config = match config {
        Ok(config) => config,
        Err(error) => return complain(&error),
    };
    let guest = config.name.clone().filter(|_| config.guest_names);
    report::set(Style { program: program.clone(), timestamp: config.timestamps, guest });
    if let Some(text) = lists::answer(&program, &config) {
        return match text {
            Ok(text) => {
                print!("{text}");
                // Asking for the items of the log has always been a failure.
                if config.log_items.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
            }
            Err(error) => complain(&error),
        };
    }
    let status = launch::launch(&program, config);
    base::trace::finish_time_line();
    backends::char::restore_terminal();
    match status {
        Ok(status) => ExitCode::from(status),
        Err(error) => complain(&error),
    }
}

/// Tells the user of an error.
fn complain(error: &base::Error) -> ExitCode {
    for line in error.to_string().lines() {
        report::say(line);
    }
    if let Some(hint) = error.hint_text() {
        eprintln!("{hint}");
    }
    ExitCode::FAILURE
}
