use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

async fn apis(options: Options) -> Apis {
    Apis::new(Data::load().await.unwrap(), options)
}

/// Asks until it is no failure, and says how often that was.
fn insist(apis: &Apis, api: Api, path: &str, query: &str) -> (Reply, u32) {
    for attempt in 1..10 {
        let reply = apis.reply(api, path, query);
        if reply.status.is_success() && !reply.breaks {
            return (reply, attempt);
        }
    }
    panic!("{path} fails for ever");
}

fn header(reply: &Reply, name: &HeaderName) -> Option<String> {
    reply.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn the_pages_of_flights_together_are_all_flights() {
    let apis = apis(Options::default()).await;
    let (first, _) = insist(&apis, Api::Flights, "/flights", "page=1");
    assert_eq!(json(&first)["total"], 27_004);
    let pages = json(&first)["total_pages"].as_u64().unwrap();
    assert_eq!(pages, 55);
    let page = |number| json(&insist(&apis, Api::Flights, "/flights", &format!("page={number}")).0);
    let rows = (1..=pages).map(|number| page(number)["flights"].as_array().unwrap().len()).sum::<usize>();
    assert_eq!(rows, 27_004);
}

#[tokio::test]
async fn a_page_behind_the_last_is_not_found() {
    let apis = apis(Options::default()).await;
    for query in ["page=0", "page=56", "page=x"] {
        assert_eq!(apis.reply(Api::Flights, "/flights", query).status, StatusCode::NOT_FOUND, "{query}");
    }
    assert_eq!(apis.reply(Api::Weather, "/weather/EWR/13", "").status, StatusCode::NOT_FOUND);
    assert_eq!(apis.reply(Api::Archive, "/archive/2013/02/29.csv.gz", "").status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn links_lead_through_all_the_weather_of_a_month() {
    let apis = apis(Options::default()).await;
    let (mut query, mut sizes) = (String::new(), Vec::new());
    loop {
        let (reply, _) = insist(&apis, Api::Weather, "/weather/EWR/1", &query);
        sizes.push(json(&reply)["hours"].as_array().unwrap().len());
        let Some(link) = header(&reply, &LINK) else { break };
        query = format!("page={}", sizes.len() + 1);
        assert_eq!(link, format!("</weather/EWR/1?{query}>; rel=\"next\""));
    }
    assert_eq!(sizes, [200, 200, 200, 142]);
}

#[tokio::test]
async fn all_weather_is_valid_json() {
    let data = Data::load().await.unwrap();
    let rows: Value = serde_json::from_str(&data.weather.json(0..data.weather.len())).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 26_115);
}

#[tokio::test]
async fn the_archive_gives_compressed_files_as_they_are() {
    let apis = apis(Options::default()).await;
    let (reply, _) = insist(&apis, Api::Archive, "/archive/2013/02/7.csv.gz", "");
    assert_eq!(reply.body, Data::archived(7).unwrap());
    assert_eq!(header(&reply, &CONTENT_TYPE).as_deref(), Some("application/gzip"));
}

#[tokio::test(start_paused = true)]
async fn weather_beyond_the_rate_is_refused_until_a_second_has_passed() {
    let apis = apis(Options::default()).await;
    let ask = || apis.reply(Api::Weather, "/weather/EWR/1", "").status;
    for _ in 0..WEATHER_RATE {
        assert_ne!(ask(), StatusCode::TOO_MANY_REQUESTS);
    }
    let refused = apis.reply(Api::Weather, "/weather/EWR/1", "");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&refused, &RETRY_AFTER).as_deref(), Some("1"));
    assert_eq!(refused.after, Duration::ZERO);
    assert_eq!(apis.served().refused, 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(ask(), StatusCode::OK);
}

#[tokio::test]
async fn some_requests_fail_the_first_time_and_never_again() {
    let apis = apis(Options::default()).await;
    let pages = (1..=55).map(|page| (Api::Flights, "/flights".to_owned(), format!("page={page}")));
    let days = (1..=28).map(|day| (Api::Archive, format!("/archive/2013/02/{day}.csv.gz"), String::new()));
    let mut attempts = BTreeSet::new();
    for (api, path, query) in pages.chain(days) {
        let (_, attempt) = insist(&apis, api, &path, &query);
        attempts.insert((api == Api::Archive, attempt));
    }
    assert_eq!(attempts, BTreeSet::from([(false, 1), (false, 2), (true, 1), (true, 2)]));
}

#[tokio::test(start_paused = true)]
async fn every_run_meets_the_same_adversities_whatever_the_order() {
    let (one, other) = (apis(Options::default()).await, apis(Options::default()).await);
    let days: Vec<_> = (1..=28).map(|day| format!("/archive/2013/02/{day}.csv.gz")).collect();
    let forwards: Vec<_> = days.iter().map(|day| one.reply(Api::Archive, day, "")).collect();
    let backwards: Vec<_> = days.iter().rev().map(|day| other.reply(Api::Archive, day, "")).collect();
    assert!(forwards.iter().eq(backwards.iter().rev()));
    assert_eq!(one.served(), other.served());
}

#[tokio::test]
async fn what_takes_time_is_counted_one_after_the_other_and_nothing_twice() {
    let apis = apis(Options::default()).await;
    let first = insist(&apis, Api::Archive, "/archive/2013/02/1.csv.gz", "");
    let second = insist(&apis, Api::Flights, "/flights", "page=2");
    insist(&apis, Api::Flights, "/flights", "page=2");
    let waited = [first, second].iter().map(|(reply, attempts)| reply.after * *attempts).sum();
    assert_eq!(apis.served().one_after_the_other, waited);
    assert_eq!(apis.served().answered, 3);
}

#[tokio::test(start_paused = true)]
async fn a_broken_resource_fails_for_ever_and_the_others_do_not() {
    let apis = apis(Options { broken: true }).await;
    for _ in 0..20 {
        assert_eq!(apis.reply(Api::Weather, BROKEN, "").status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    insist(&apis, Api::Weather, "/weather/LGA/8", "");
}
