//! The same tables through networks that break, and through runs that are killed.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;
use towpath_testkit::proxy::Proxy;
use towpath_tests::{Project, blocking, signal};

use super::mysql::Mysql;
use super::postgres::Postgres;
use super::round_trip::{Leg, assert_all_the_same, finish};
use super::tpch::{TABLES, seeded};

/// The scale factor of the tables, where `TOWPATH_TEST_SCALE` does not say another.
const SCALE: f64 = 0.1;
/// Where random choices begin.
const SEED: u64 = 20;
/// How often connections are cut, or the run is killed, on each leg.
const TIMES: u64 = 10;
/// The longest pause before the next blow.
const PAUSE_MS: u64 = 250;
/// Commits so often that there is something between one and the next.
const COMMITS: &str = "    commit: { rows: 20000 }\n";

/// The scale factor of this run.
fn scale() -> f64 {
    match std::env::var("TOWPATH_TEST_SCALE") {
        Ok(scale) => scale.parse().unwrap_or_else(|_| panic!("TOWPATH_TEST_SCALE is no number: {scale}")),
        Err(_) => SCALE,
    }
}

async fn pause(random: &mut Rng) {
    sleep(Duration::from_millis(random.u64(..PAUSE_MS))).await;
}

/// Runs a leg while the connections through these proxies are cut again and again.
async fn run_while_cutting(leg: &Leg, project: &Arc<Project>, proxies: &[&Proxy]) {
    project.write("pipeline.yaml", leg.pipeline());
    let running = tokio::spawn({
        let project = project.clone();
        async move { finish(&project).await }
    });
    let mut random = Rng::with_seed(SEED);
    for _ in 0..TIMES {
        pause(&mut random).await;
        let chosen = random.usize(..proxies.len());
        proxies[chosen].cut();
    }
    running.await.expect("the run succeeds");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_lose_and_double_no_row() {
    let (original, mysql, back) = (seeded(scale()).await, Mysql::new().await, Postgres::new().await);
    let (to_postgres, to_mysql) =
        (Proxy::start(Postgres::address()).await, Proxy::start(Mysql::address()).await);
    let (postgres_at, mysql_at) = (to_postgres.address(), to_mysql.address());
    let proxies = [&to_postgres, &to_mysql];
    let project = Arc::new(Project::new());
    let there = Leg::there(original.url_at(postgres_at), mysql.url_at(mysql_at), "append");
    run_while_cutting(&Leg { stream: COMMITS, ..there }, &project, &proxies).await;
    let back_again = Leg::back(mysql.url_at(mysql_at), back.url_at(postgres_at), "merge");
    run_while_cutting(&Leg { stream: COMMITS, ..back_again }, &project, &proxies).await;
    assert_all_the_same(&original, &mysql, &back).await;
}

/// A target whose rows can be counted while a run goes on.
enum Target<'a> {
    Postgres(&'a Postgres),
    Mysql(&'a Mysql),
}

impl Target<'_> {
    async fn rows(&self) -> u64 {
        let mut rows = 0;
        for table in &TABLES {
            rows += match self {
                Self::Postgres(database) => database.count(table.name).await,
                Self::Mysql(database) => database.count(table.name).await,
            };
        }
        rows
    }
}

/// Starts a leg again and again, and kills it each time when the target has got some more rows and a moment has passed.
async fn run_while_killing(leg: &Leg, project: &Arc<Project>, target: Target<'_>, total: u64) {
    project.write("pipeline.yaml", leg.pipeline());
    let mut random = Rng::with_seed(SEED);
    let mut kills = 0;
    for time in 0..TIMES {
        let mut child = project.start();
        let goal = total * time / TIMES;
        let mut has_ended = false;
        while !has_ended && target.rows().await < goal {
            sleep(Duration::from_millis(10)).await;
            has_ended = child.try_wait().expect("it can be asked").is_some();
        }
        pause(&mut random).await;
        if child.try_wait().expect("it can be asked").is_none() {
            signal(&child, "KILL");
            kills += 1;
        }
        blocking(move || child.wait()).await.expect("it ended");
    }
    println!("{} was killed {kills} times", leg.disposition);
    finish(project).await;
}

/// Both ways with one write disposition, both killed all the time.
async fn tables_survive_kills(disposition: &'static str) {
    let (original, mysql, back) = (seeded(scale()).await, Mysql::new().await, Postgres::new().await);
    let mut total = 0;
    for table in &TABLES {
        total += original.count(table.name).await;
    }
    let project = Arc::new(Project::new());
    // A stream that a killed run has finished is begun anew by the next; `append` needs the cursor to load nothing then.
    let has_cursor = disposition == "append";
    let leg = |leg: Leg| Leg { stream: COMMITS, has_cursor, ..leg };
    let there = leg(Leg::there(original.url(), mysql.url(), disposition));
    run_while_killing(&there, &project, Target::Mysql(&mysql), total).await;
    let back_again = leg(Leg::back(mysql.url(), back.url(), disposition));
    run_while_killing(&back_again, &project, Target::Postgres(&back), total).await;
    assert_all_the_same(&original, &mysql, &back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_killed_append_every_row_once() {
    tables_survive_kills("append").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_killed_merge_every_row() {
    tables_survive_kills("merge").await;
}
