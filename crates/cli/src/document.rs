//! Completions and manual pages, made from the definition of a program's command line.
//!
//! Every program flattens [`DocumentCommand`] into its commands, so that both are at hand wherever the program is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Subcommand};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use crate::{CliError, EXIT_STATUS_HELP, Exit, OrFail, Printer};

/// The commands with which a program describes its own command line.
#[derive(Clone, Debug)]
pub struct DocumentCommand(Document);

#[derive(Clone, Debug, Subcommand)]
enum Document {
    /// Print the completions for a shell
    ///
    /// They are made from the definition of this program's command line. Put them where the shell looks for them, once
    /// after each update.
    Completions {
        /// The shell that is to complete commands and options
        shell: Shell,
    },

    /// Print the manual page
    ///
    /// With --dir every page is written instead: the program's own, and one for each of its commands.
    Man {
        /// Write all pages into this folder, which is made if need be
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

impl DocumentCommand {
    /// Prints what was asked for about the command line of `P`.
    ///
    /// # Errors
    /// When the output or the folder cannot be written.
    pub fn execute<P: CommandFactory>(&self, printer: &Printer) -> Result<Exit, CliError> {
        let mut program = P::command();
        match &self.0 {
            Document::Completions { shell } => {
                printer.raw(completions(*shell, &mut program))?;
            }
            Document::Man { dir: None } => printer.raw(page(&built(program))?)?,
            Document::Man { dir: Some(dir) } => {
                let context = || format!("cannot write the manual pages to {}", dir.display());
                fs::create_dir_all(dir).or_user(context())?;
                write_pages(&built(program), dir).or_user(context())?;
            }
        }
        Ok(Exit::Done)
    }
}

impl FromArgMatches for DocumentCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Document::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Subcommand for DocumentCommand {
    fn augment_subcommands(program: Command) -> Command {
        with_examples(Document::augment_subcommands(program))
    }

    fn augment_subcommands_for_update(program: Command) -> Command {
        with_examples(Document::augment_subcommands_for_update(program))
    }

    fn has_subcommand(name: &str) -> bool {
        Document::has_subcommand(name)
    }
}

/// Examples name the program, which only the definition at hand can tell.
fn with_examples(program: Command) -> Command {
    let name = program.get_name().to_owned();
    let completions = format!(
        "Examples:\n  \
         {name} completions bash > ~/.local/share/bash-completion/completions/{name}\n  \
         {name} completions zsh | sudo tee /usr/local/share/zsh/site-functions/_{name} > /dev/null\n  \
         {name} completions fish > ~/.config/fish/completions/{name}.fish\n  \
         {name} completions powershell >> $PROFILE\n\n{EXIT_STATUS_HELP}"
    );
    let man = format!(
        "Examples:\n  {name} man | man -l -\n  {name} man --dir ~/.local/share/man/man1\n\n{EXIT_STATUS_HELP}"
    );
    program
        .mut_subcommand("completions", |command| command.after_long_help(completions))
        .mut_subcommand("man", |command| command.after_long_help(man))
}

fn completions(shell: Shell, program: &mut Command) -> String {
    let (name, mut script) = (program.get_name().to_owned(), Vec::new());
    clap_complete::generate(shell, program, &name, &mut script);
    let script = String::from_utf8_lossy(&script);
    // The script for bash goes to labels that begin with the first of these and has some that begin with the second, so
    // that nothing is found below a program whose name has a hyphen (clap_complete 4.6.11).
    let [going, written] =
        ["__", "__subcmd__"].map(|hyphen| format!("{}__subcmd__", name.replace('-', hyphen)));
    script.replace(&written, &going)
}

/// The definition with everything that its commands inherit. `help` stands in no manual.
fn built(program: Command) -> Command {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    program
}

fn write_pages(command: &Command, dir: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    fs::write(dir.join(format!("{name}.1")), page(command)?)?;
    let mut shown = command.get_subcommands().filter(|below| !below.is_hide_set());
    shown.try_for_each(|below| write_pages(below, dir))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let source = format!("Vmsgate {}", command.get_version().unwrap_or_default());
    // No date: the page is as old as the program. An empty one would be left out, and the source be taken for it.
    let manual = Man::new(command.clone()).date(" ").source(source);
    let mut page = Vec::new();
    manual.render_title(&mut page)?;
    manual.render_name_section(&mut page)?;
    manual.render_synopsis_section(&mut page)?;
    manual.render_description_section(&mut page)?;
    manual.render_options_section(&mut page)?;
    if command.has_subcommands() {
        manual.render_subcommands_section(&mut page)?;
    }
    if let Some(end) = command.get_after_long_help() {
        end_of_help(&end.to_string()).to_writer(&mut page)?;
    }
    Ok(page)
}

/// The end of a long help as sections: each of its headings, and below it the lines as they are.
fn end_of_help(text: &str) -> Roff {
    let mut roff = Roff::new();
    for section in text.split("\n\n") {
        let (heading, lines) = section.split_once('\n').unwrap_or((section, ""));
        roff.control("SH", [heading.trim_end_matches(':').to_uppercase().as_str()]);
        roff.control("nf", []);
        for line in lines.lines() {
            roff.text([roman(line.trim_start())]);
        }
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::OutputArgs;

    /// A gate, for trying
    #[derive(Parser)]
    #[command(name = "gate", version, after_long_help = EXIT_STATUS_HELP)]
    struct Program {
        #[command(subcommand)]
        command: Commands,
    }

    #[derive(Subcommand)]
    enum Commands {
        /// Open a door
        #[command(after_long_help = "Examples:\n  gate open --wide\n  gate open\n\nExit status:\n  0  done")]
        Open {
            /// As far as it goes
            #[arg(long)]
            wide: bool,
        },
        /// Not for use by hand
        #[command(hide = true)]
        Creak,
        #[command(flatten)]
        Document(DocumentCommand),
    }

    fn run(arguments: &[&str]) -> String {
        let program = Program::parse_from([&["gate"], arguments].concat());
        let Commands::Document(document) = program.command else { panic!("{arguments:?} opens a door") };
        let (printer, out, _) = Printer::captured(&OutputArgs::default());
        assert_eq!(document.execute::<Program>(&printer).unwrap(), Exit::Done);
        out.text()
    }

    #[test]
    fn every_shell_s_completions_know_every_command_and_option() {
        for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
            let script = run(&["completions", shell]);
            for word in ["open", "wide", "completions", "man"] {
                assert!(script.contains(word), "{shell}: no `{word}` in\n{script}");
            }
        }
    }

    #[test]
    fn the_manual_has_examples_and_exit_status_as_sections_of_their_own() {
        let folder = std::env::temp_dir().join(format!("vmsgate-manual-{}", std::process::id()));
        assert_eq!(run(&["man", "--dir", folder.to_str().unwrap()]), "");
        let mut pages: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|page| page.unwrap().file_name().into_string().unwrap())
            .collect();
        pages.sort();
        let open = fs::read_to_string(folder.join("gate-open.1")).unwrap();
        let own = fs::read_to_string(folder.join("gate.1")).unwrap();
        fs::remove_dir_all(&folder).unwrap();

        assert_eq!(pages, ["gate-completions.1", "gate-man.1", "gate-open.1", "gate.1"]);
        assert!(open.contains(".SH EXAMPLES\n.nf\ngate open \\-\\-wide\ngate open\n.fi\n"), "{open}");
        assert!(own.contains(".SH \"EXIT STATUS\"\n.nf\n0  done\n"), "{own}");
        assert!(own.contains("gate\\-open(1)\nOpen a door"), "{own}");
        assert_eq!(own, run(&["man"]));
    }

    #[test]
    fn the_examples_name_the_program_that_is_asked() {
        let mut program = Program::command();
        let help = program.find_subcommand_mut("man").unwrap().render_long_help().to_string();

        assert!(help.contains("Examples:\n  gate man | man -l -\n"), "{help}");
        Program::command().debug_assert();
    }
}
