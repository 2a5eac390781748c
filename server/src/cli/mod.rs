//! The command line: noun, then verb.

mod admin;
mod client;
mod forward;
mod moving;
mod out;
mod run;
mod size;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

pub use self::out::Exit;

/// An authentication server in which session and token are two halves of one login.
#[derive(Debug, Parser)]
#[command(name = "symbolon", version, propagate_version = true, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage or configuration, 3 not found, 4 server or data folder not reachable."
)]
pub struct Arguments {
    /// The configuration file [default: symbolon.toml or forward-auth.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override one setting
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write it as KEY=VALUE".to_owned())
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine, with demo users and a demo shop
    Dev(run::Dev),
    /// Run the server
    Serve,
    /// Answer a proxy's question whether a request gets through
    ForwardAuth,
    /// Look at the configuration
    Config(ConfigOf),
    /// Users
    #[command(subcommand)]
    User(admin::UserCommand),
    /// Sessions
    #[command(subcommand)]
    Session(admin::SessionCommand),
    /// Access tokens
    #[command(subcommand)]
    Token(admin::TokenCommand),
    /// Clients and resource servers
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Keys
    #[command(subcommand)]
    Key(admin::KeyCommand),
    /// Servers that share one database
    #[command(subcommand)]
    Cluster(admin::ClusterCommand),
    /// Move everything to another store
    #[command(subcommand)]
    Migrate(moving::MigrateCommand),
    /// Copy the store into a file, while servers work on it
    Backup(moving::Backup),
    /// Fill the store from a backup; all sessions end
    Restore(moving::Restore),
    /// Reckon what so many sessions take: storage, memory, cores, and what is used up first
    Size(size::Size),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
struct ConfigOf {
    /// That of `forward-auth`, not of `serve`
    #[arg(long, global = true)]
    forward_auth: bool,
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say what is wrong with it
    Check,
    /// Print the settings in force
    Show {
        /// Say where each comes from
        #[arg(long)]
        origin: bool,
    },
    /// Print the table of all settings (Markdown)
    Reference,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Command::Completions { shell } => {
            out::completions(*shell, &mut Arguments::command());
            Ok(())
        }
        Command::Config(ConfigOf { forward_auth: false, command }) => config(&arguments, command),
        Command::Config(ConfigOf { command, .. }) => forward_config(&arguments, command),
        Command::ForwardAuth => forward::run(&arguments),
        Command::Dev(dev) => run::dev(&arguments, dev),
        Command::Serve => run::serve(&arguments),
        Command::User(command) => command.call().and_then(|call| admin::run(&arguments, &call)),
        Command::Session(command) => admin::run(&arguments, &command.call()),
        Command::Token(command) => admin::run(&arguments, &command.call()),
        Command::Client(command) => command.call().and_then(|call| admin::run(&arguments, &call)),
        Command::Key(command) => admin::run(&arguments, &command.call()),
        Command::Cluster(command) => admin::run(&arguments, &command.call()),
        Command::Migrate(command) => moving::migrate(&arguments, command),
        Command::Backup(backup) => moving::backup(&arguments, backup),
        Command::Size(size) => size::run(&arguments, size),
        Command::Restore(restore) => moving::restore(&arguments, restore),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => out::fail(&failure, arguments.json),
    }
}

fn config(arguments: &Arguments, command: &ConfigCommand) -> Result<(), Exit> {
    match command {
        ConfigCommand::Reference => {
            out::text(&crate::config::reference(crate::config::sections::SECTIONS));
        }
        ConfigCommand::Show { origin } => {
            out::settings(arguments.read_config(&[])?.shown(), *origin, arguments.json)
        }
        ConfigCommand::Check => {
            let config = arguments.read_config(&[])?;
            let unsafe_settings = config.refuse_unsafe();
            if !unsafe_settings.is_empty() {
                return Err(Exit::config(&unsafe_settings));
            }
            out::warn(&config.warnings());
            out::warn(&admin::drift(&config)?);
            out::text("the configuration is fit for serve\n");
        }
    }
    Ok(())
}

fn forward_config(arguments: &Arguments, command: &ConfigCommand) -> Result<(), Exit> {
    match command {
        ConfigCommand::Reference => {
            out::text(&crate::config::reference(crate::config::forward::SECTIONS));
        }
        ConfigCommand::Show { origin } => {
            out::settings(arguments.read_forward_config()?.shown(), *origin, arguments.json);
        }
        ConfigCommand::Check => {
            out::warn(&arguments.read_forward_config()?.warnings());
            out::text("the configuration is fit for forward-auth\n");
        }
    }
    Ok(())
}

impl Arguments {
    /// The configuration of a forward-auth service.
    fn read_forward_config(&self) -> Result<crate::config::forward::ForwardConfig, Exit> {
        crate::config::read_forward(self.config.as_deref(), &self.set)
            .map_err(|errors| Exit::config(&errors))
    }

    /// The configuration; `defaults` are weaker than everything that was said.
    fn read_config(&self, defaults: &[(&str, String)]) -> Result<crate::config::Config, Exit> {
        crate::config::read(self.config.as_deref(), defaults, &self.set)
            .map_err(|errors| Exit::config(&errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_verb_can_be_typed() {
        for (line, valid) in [
            ("dev --port 9000 --no-demo --data-dir d", true),
            ("serve --config /etc/symbolon.toml --set listen.address=[::]:443", true),
            ("serve --set listen.address", false),
            ("config show --origin --json", true),
            ("config check --forward-auth", true),
            ("forward-auth --config forward-auth.toml", true),
            ("user add user@example.com --role admin --role staff", true),
            // No secret stands on a command line.
            ("user add user@example.com --password hunter2", false),
            ("session end-all --user user@example.com", true),
            ("session end-all", false),
            (
                "client add shop --kind confidential --origin https://shop.example --browser cart=write",
                true,
            ),
            (
                "client add app --kind public --name App --application-type native --pkce-required --require-par",
                true,
            ),
            (
                "client add app --kind confidential --pkce-required=false --jwks keys.json --name-in ko=앱",
                true,
            ),
            ("client add app --kind confidential --jwks a --jwks-uri https://a.example/", false),
            ("client invite --uses 5 --life 1h", true),
            ("client add shop", false),
            ("client rotate-secret shop", true),
            ("key rotate ES256", true),
            (
                "migrate store --from sqlite:/var/lib/symbolon --to postgres://symbolon@db.example/symbolon",
                true,
            ),
            ("migrate store --from sqlite: --to file:/run/secrets/store-url", false),
            // No secret stands on a command line.
            (
                "migrate store --from sqlite:d --to postgres://symbolon:hunter2@db.example/symbolon",
                false,
            ),
            (
                "migrate store --from sqlite:d --to postgres://db.example/symbolon?password=hunter2",
                false,
            ),
            ("migrate store --from sqlite:d --to mysql://db.example/symbolon", false),
            ("migrate abandon --from config", true),
            ("backup --to symbolon.backup --last", true),
            ("restore --from symbolon.backup --overwrite --keep-sessions", true),
            ("size --sessions 1000000 --logins-per-second 10.5 --services 30", true),
            ("size --sessions 1000000", false),
            ("completions bash", true),
            ("", false),
        ] {
            let typed = std::iter::once("symbolon").chain(line.split_whitespace());
            let parsed = Arguments::try_parse_from(typed);
            assert_eq!(parsed.is_ok(), valid, "{line}: {:?}", parsed.err());
        }
    }
}
