//! `dirsyncd demo`: the whole way on a made-up company, with an LDIF directory and the
//! simulator on loopback.

use std::path::Path;
use std::time::Instant;

use clap::Args;

use super::progress::Progress;
use super::simulate::organization_block;
use super::{Exit, Failure, detail, print, show, start_log};
use crate::apply::{Control, Shutdown};
use crate::config::{Config, LogFormat, PrivateFolder};
use crate::demo::{Change, Company};
use crate::report;
use crate::run::{Orders, Setup, dry_run, sync};
use crate::simulator;

#[derive(Args)]
pub(super) struct Arguments {
    /// How many people the company has
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(50..=100_000))]
    people: u32,
}

/// Each group of a plan shows so many people.
/// So many people are shown a group.
const SHOWN: usize = 3;

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    start_log("warn", LogFormat::Text);
    let began = Instant::now();
    let folder = PrivateFolder::new()
        .map_err(|error| Failure::failed(format!("no temporary folder: {error}")))?;
    let mut company = Company::new(7, arguments.people as usize);
    let organization = simulator::start(simulator::Options {
        domains: vec!["example.org".to_owned()],
        ..simulator::Options::in_folder(folder.path().join("organization"))
    })
    .await
    .map_err(Failure::failed)?;
    let block = organization_block(&organization, &folder.path().join("organization"));
    let setup = configure(folder.path(), &block)?;
    let demo = Demo {
        setup,
        folder: folder.path(),
    };

    say(&format!(
        "A company of {} people in an LDIF directory, and an empty organization: a simulator of\nthe admin API at {}. Nothing leaves this machine.",
        arguments.people,
        organization.url()
    ));
    heading("1. The dry run: what would happen");
    demo.write(&company)?;
    demo.plan().await?;
    heading("2. The sync: that plan, applied");
    demo.sync().await?;
    heading("3. The dry run again: nothing is left to do");
    demo.expect_nothing().await?;

    heading("4. Life goes on: the directory changes");
    let mut changes = company.join(5);
    changes.extend(company.move_department(4));
    changes.extend(company.change_surname());
    changes.extend(company.leave(3));
    changes.extend(company.disable(1));
    tell(&changes);
    demo.write(&company)?;
    demo.plan().await?;
    heading("5. The sync");
    demo.sync().await?;
    demo.expect_nothing().await?;

    heading("6. The disabled person is back");
    tell(&company.enable(1));
    demo.write(&company)?;
    demo.plan().await?;
    demo.sync().await?;
    demo.expect_nothing().await?;
    organization.stop().await;
    print(&format!(
        "\nThe demo took {:.1} s. {NEXT}",
        began.elapsed().as_secs_f64()
    ));
    Ok(Exit::Done)
}

const NEXT: &str = "With a real directory:

  1. dirsyncd init                    asks for your server, and for the ids and keys of your
                                      organization (or those that `dirsyncd simulate --state DIR`
                                      prints), and writes config.toml
  2. dirsyncd check -c config.toml    tries everything that a run needs
  3. dirsyncd plan -c config.toml     shows what a sync would do, and changes nothing
  4. dirsyncd rehearse -c config.toml does it against a copy of the organization
  5. dirsyncd sync -c config.toml     does it
  6. dirsyncd run -c config.toml      does it on a schedule
";

struct Demo<'a> {
    setup: Setup,
    folder: &'a Path,
}

impl Demo<'_> {
    /// Writes the directory as it is now.
    fn write(&self, company: &Company) -> Result<(), Failure> {
        let path = self.folder.join("directory.ldif");
        let failed = |error| Failure::failed(format!("cannot write {}: {error}", path.display()));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).map_err(failed)?);
        company.write_ldif(&mut file).map_err(failed)?;
        std::io::Write::flush(&mut file).map_err(failed)
    }

    async fn plan(&self) -> Result<(), Failure> {
        let progress = Progress::new(false);
        let plan = dry_run(&self.setup, Orders::ROUTINE, &control(&progress)).await;
        progress.finish();
        say(&format!(
            "$ dirsyncd plan --limit 3\n{}",
            report::text(&plan?, detail(Some(SHOWN)))
        ));
        Ok(())
    }

    async fn sync(&self) -> Result<(), Failure> {
        let progress = Progress::new(false);
        let finished = sync(&self.setup, Orders::ROUTINE, "demo", &control(&progress)).await;
        progress.finish();
        let finished = finished?;
        say(&format!(
            "$ dirsyncd sync\n{}",
            report::applied(&finished.plan, &finished.applied, detail(Some(SHOWN)))
        ));
        if finished.applied.failed.is_empty() {
            Ok(())
        } else {
            Err(Failure::failed("operations failed in the demo"))
        }
    }

    async fn expect_nothing(&self) -> Result<(), Failure> {
        let progress = Progress::new(false);
        let plan = dry_run(&self.setup, Orders::ROUTINE, &control(&progress)).await;
        progress.finish();
        let plan = plan?;
        say(&format!(
            "$ dirsyncd plan\n{}\n",
            report::summary_line(&plan)
        ));
        if plan.operations.is_empty() {
            Ok(())
        } else {
            Err(Failure::failed("the plan right after a sync is not empty"))
        }
    }
}

fn configure(folder: &Path, organization: &str) -> Result<Setup, Failure> {
    let text = format!(
        r#"database = "dirsyncd.db"

{organization}max_users = 100000
[[source]]
kind = "ldif"
preset = "openldap"
file = "directory.ldif"
base = "ou=people,dc=example,dc=org"

[source.mapping]
active = {{ expr = 'attr("employeeType") != "leaver"' }}
"#
    );
    let path = folder.join("config.toml");
    std::fs::write(&path, &text)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    let config = Config::parse(&path, &text).map_err(Failure::usage)?;
    Setup::new(config).map_err(Failure::usage)
}

fn control(progress: &Progress) -> Control<'_> {
    Control {
        watch: progress,
        stop: Shutdown::never(),
        now: &chrono::Utc::now,
        asked_by: None,
    }
}

fn heading(text: &str) {
    print(&format!("\n=== {text} ===\n\n"));
}

fn say(text: &str) {
    show(&format!("{}\n", text.trim_end()));
}

fn tell(changes: &[Change]) {
    for change in changes {
        print(&format!("  {change}\n"));
    }
    print("\n");
}
