//! `holdfast carriers list` and `holdfast carriers add PACK`

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};

use super::flags::SettingsFlags;
use super::rules::with_store;
use crate::carrier::Rows;
use crate::carrier::packs::{self, Pack, Wanted};
use crate::store::{Store, insert};

#[derive(Debug, Subcommand)]
pub(super) enum CarriersCommand {
    /// Print the vendors there are, with their edges and what each needs to know
    List,
    /// Add a vendor as a carrier: gateways, number rule, examples, failure rules; what is there already stays as it is
    Add(AddFlags),
}

#[derive(Args, Debug)]
pub(super) struct AddFlags {
    /// Which vendor: openai, telnyx or twilio
    pack: String,
    /// Name of the carrier; its gateways are named after it [default: the vendor's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where the vendor is to take the calls, the first first; `holdfast carriers list` has them
    #[arg(long, value_name = "EDGE,…", value_delimiter = ',')]
    edges: Vec<String>,
    /// Domain of your trunk, such as my-trunk.pstn.twilio.com (twilio)
    #[arg(long, value_name = "DOMAIN")]
    trunk: Option<String>,
    /// Id of your project, such as proj_abc123 (openai)
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// Print the statements, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    flags: SettingsFlags,
}

pub(super) fn run(command: &CarriersCommand) -> anyhow::Result<ExitCode> {
    match command {
        CarriersCommand::List => {
            print!("{}", packs::all().iter().map(line).collect::<String>());
            Ok(ExitCode::SUCCESS)
        }
        CarriersCommand::Add(flags) => {
            let (pack, rows) = flags.wanted()?;
            with_store(&flags.flags, async |store| flags.add(store, &pack, rows).await)
        }
    }
}

fn line(pack: &Pack) -> String {
    let edges: Vec<&str> = pack.edges.iter().map(|edge| edge.name.as_str()).collect();
    let needs = pack.account.as_ref().map(|account| format!(", needs --{}", account.flag));
    let (name, about, edges) = (pack.name, &pack.about, edges.join(", "));
    format!("{name:8} {about}; edges {edges}{}\n", needs.unwrap_or_default())
}

impl AddFlags {
    fn wanted(&self) -> anyhow::Result<(Pack, Rows)> {
        let Some(pack) = Pack::named(&self.pack) else {
            let names: Vec<&str> = packs::all().iter().map(|pack| pack.name).collect();
            bail!("there is no vendor '{}'; there are {}", self.pack, names.join(", "));
        };
        let given = [("trunk", self.trunk.as_deref()), ("project", self.project.as_deref())];
        let needed = pack.account.as_ref().map(|account| account.flag.as_str());
        let other = given.iter().find(|(flag, text)| text.is_some() && Some(*flag) != needed);
        if let Some((flag, _)) = other {
            bail!("{} has no use for --{flag}", pack.name);
        }
        let account = given.iter().find_map(|(_, text)| *text);
        let name = self.name.as_deref().unwrap_or(pack.name).trim();
        let edges = self.edges.as_slice();
        let rows = pack.rows(&Wanted { name, account, edges }).map_err(|reason| anyhow!(reason))?;
        Ok((pack, rows))
    }

    async fn add(&self, store: &Store, pack: &Pack, wanted: Rows) -> anyhow::Result<()> {
        let name = self.name.as_deref().unwrap_or(pack.name).trim();
        let all = Counts::of(&wanted);
        let missing = packs::missing(&store.read_rows().await?, wanted)?;
        let added = Counts::of(&missing);
        let statements = insert::statements(&missing);
        if self.dry_run {
            statements.iter().for_each(|statement| println!("{statement}"));
            return Ok(());
        }
        store.execute(&statements).await?;
        println!("{name}: {added} added; {} were there already", all.less(&added));
        if added.carriers > 0 {
            println!("{}", next_steps(pack, name));
        }
        Ok(())
    }
}

/// How many rows of each kind.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    carriers: usize,
    gateways: usize,
    number_rules: usize,
    failure_rules: usize,
}

impl Counts {
    fn of(rows: &Rows) -> Self {
        Self {
            carriers: rows.carriers.len(),
            gateways: rows.gateways.len(),
            number_rules: rows.number_rules.len(),
            failure_rules: rows.failure_rules.len(),
        }
    }

    fn less(&self, other: &Self) -> Self {
        Self {
            carriers: self.carriers - other.carriers,
            gateways: self.gateways - other.gateways,
            number_rules: self.number_rules - other.number_rules,
            failure_rules: self.failure_rules - other.failure_rules,
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = [
            (self.carriers, "carrier"),
            (self.gateways, "gateway"),
            (self.number_rules, "number rule"),
            (self.failure_rules, "failure rule"),
        ];
        let kinds = kinds.iter().filter(|(count, _)| *count > 0);
        let texts: Vec<String> = kinds
            .map(|(count, kind)| format!("{count} {kind}{}", if *count == 1 { "" } else { "s" }))
            .collect();
        f.write_str(if texts.is_empty() { "none" } else { "" })?;
        f.write_str(&texts.join(", "))
    }
}

fn next_steps(pack: &Pack, name: &str) -> String {
    let quoted = name.replace('\'', "''");
    format!(
        "\nNo call goes there before a route says so:\n\n  \
         insert into route_carriers (route_id, carrier_id)\n  \
         select 1, carrier_id from carriers where name = '{quoted}';\n\n{}\n\
         `holdfast check` says whether the tables make sense.",
        pack.next
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        add: AddFlags,
    }

    fn add(words: &[&str]) -> AddFlags {
        let words = ["add"].iter().chain(words);
        Line::try_parse_from(words).expect("a command line").add
    }

    fn refused(words: &[&str]) -> String {
        add(words).wanted().expect_err("it makes no sense").to_string()
    }

    #[test]
    fn takes_a_name_edges_and_what_tells_whose_calls_they_are() {
        let (pack, rows) =
            add(&["twilio", "--name", "t", "--edges", "dublin,ashburn", "--trunk", "acme"])
                .wanted()
                .expect("it makes sense");
        assert_eq!(pack.name, "twilio");
        let gateways: Vec<_> = rows
            .gateways
            .iter()
            .map(|row| (row.name.as_str(), row.host.as_str(), row.priority))
            .collect();
        assert_eq!(
            gateways,
            [
                ("t-dublin", "acme.pstn.dublin.twilio.com", 0),
                ("t-ashburn", "acme.pstn.ashburn.twilio.com", 1)
            ]
        );
        let (_, rows) = add(&["telnyx"]).wanted().expect("it needs nothing");
        assert_eq!(rows.carriers[0].name, "telnyx");
        let (_, rows) = add(&["openai", "--project", "proj_1"]).wanted().expect("it makes sense");
        assert_eq!(rows.number_rules[0].called_replacement.as_deref(), Some("proj_1"));
    }

    #[test]
    fn says_what_is_wrong_with_the_command_line() {
        for (words, says) in [
            (&["vonage"][..], "there is no vendor 'vonage'; there are openai, telnyx, twilio"),
            (
                &["twilio"],
                "twilio needs --trunk: the trunk's domain, such as my-trunk.pstn.twilio.com",
            ),
            (
                &["twilio", "--trunk", "a b"],
                "'a b' is not the trunk's domain, such as my-trunk.pstn.twilio.com",
            ),
            (&["telnyx", "--trunk", "acme"], "telnyx has no use for --trunk"),
            (&["openai", "--project", "p", "--trunk", "acme"], "openai has no use for --trunk"),
            (&["telnyx", "--edges", "moon"], "telnyx has no edge 'moon'; it has us, eu, ca, au"),
        ] {
            assert_eq!(refused(words), says);
        }
    }

    #[test]
    fn lists_each_vendor_in_a_line() {
        insta::assert_snapshot!(packs::all().iter().map(line).collect::<String>());
    }

    #[test]
    fn says_what_comes_next() {
        let pack = Pack::named("openai").expect("a pack");
        insta::assert_snapshot!(next_steps(&pack, "voice's"));
    }

    #[test]
    fn counts_in_words() {
        let (_, rows) = add(&["telnyx"]).wanted().expect("it needs nothing");
        let counts = Counts::of(&rows);
        assert_eq!(counts.to_string(), "1 carrier, 1 gateway, 1 number rule, 11 failure rules");
        assert_eq!(counts.less(&counts).to_string(), "none");
    }
}
