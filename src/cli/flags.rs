//! A flag for every setting.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::server::settings::{CONFIG_VARIABLE, KNOWN, Raw};

/// `--config`, and `--name-of-setting` for each setting.
#[derive(Clone, Debug, Default)]
pub(super) struct SettingsFlags {
    config: Option<PathBuf>,
    given: Vec<(&'static str, String)>,
}

impl SettingsFlags {
    /// The file, the environment and the flags together; not checked yet.
    pub(super) fn raw(&self) -> Raw {
        let mut raw = Raw::default();
        let named = std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
        if let Some(path) = self.config.clone().or(named) {
            raw.add_file(&path);
        }
        let variables = std::env::vars_os();
        raw.add_environment(variables.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        }));
        for (name, text) in &self.given {
            raw.add_flag(name, text.clone());
        }
        raw
    }
}

impl FromArgMatches for SettingsFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(config) = matches.get_one::<PathBuf>("config") {
            self.config = Some(config.clone());
        }
        for known in KNOWN {
            if let Some(text) = matches.get_one::<String>(known.name) {
                self.given.push((known.name, text.clone()));
            }
        }
        Ok(())
    }
}

impl Args for SettingsFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .short('c')
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!("A TOML file of settings [env: {CONFIG_VARIABLE}]"));
        KNOWN.iter().fold(command.arg(config), |command, known| {
            let default = match known.default {
                "" => String::new(),
                default => format!(" [default: {default}]"),
            };
            command.arg(
                Arg::new(known.name)
                    .long(known.name.replace('_', "-"))
                    .value_name(known.shape)
                    .allow_hyphen_values(true)
                    .help(format!("{}{default}", known.about)),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &[&str]) -> SettingsFlags {
        let command = SettingsFlags::augment_args(Command::new("serve"));
        let matches = command.try_get_matches_from(line).expect("they parse");
        SettingsFlags::from_arg_matches(&matches).expect("they are read")
    }

    #[test]
    fn every_setting_has_a_flag_that_reaches_it() {
        for known in KNOWN {
            let flag = format!("--{}", known.name.replace('_', "-"));
            let flags = flags(&["serve", &flag, "-7"]);
            assert_eq!(flags.given, [(known.name, "-7".to_owned())]);
        }
    }

    #[test]
    fn help_names_every_setting_with_its_default() {
        let help =
            SettingsFlags::augment_args(Command::new("serve")).render_long_help().to_string();
        for known in KNOWN {
            assert!(help.contains(&known.name.replace('_', "-")), "{}", known.name);
            assert!(help.contains(known.default), "{}", known.name);
        }
    }
}
