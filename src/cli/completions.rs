//! `dirsyncd completions`: what a shell completes our words by.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Generator;
use clap_complete::shells::{Bash, Fish, Zsh};

use super::{Cli, Exit, Failure, print};

#[derive(Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Fish,
    Zsh,
}

impl Shell {
    /// The script, made from the definition of the command line.
    pub(super) fn script(self) -> String {
        match self {
            Shell::Bash => script(Bash),
            Shell::Fish => script(Fish),
            Shell::Zsh => script(Zsh),
        }
    }

    /// The name of the file in which the shell looks for it.
    #[cfg(test)]
    pub(super) fn file(self) -> String {
        use clap_complete::Generator;
        match self {
            Shell::Bash => Bash.file_name("dirsyncd"),
            Shell::Fish => Fish.file_name("dirsyncd"),
            Shell::Zsh => Zsh.file_name("dirsyncd"),
        }
    }
}

fn script(shell: impl Generator) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "dirsyncd", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    print(&arguments.shell.script());
    Ok(Exit::Done)
}
