//! Commands: they read arguments, call the program's parts, and print.

pub mod reload;
pub mod scan;

use std::process::ExitCode;

use crate::config::load::Located;

/// Exit status of a configuration or usage error.
pub const EX_CONFIG: u8 = 2;

/// Exit status of what shall be tried again later, as sysexits.h has it.
pub const EX_TEMPFAIL: u8 = 75;

/// Says what is wrong with the configuration, a line each.
pub fn configuration_error(problems: &[Located]) -> ExitCode {
    eprintln!("{}", problem_list(problems));
    ExitCode::from(EX_CONFIG)
}

/// Says what is wrong with the call.
pub fn usage_error(message: &str) -> ExitCode {
    eprintln!("gatepost: {message}");
    ExitCode::from(EX_CONFIG)
}

/// Problems, a line each.
pub fn problem_list(problems: &[Located]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
