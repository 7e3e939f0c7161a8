//! Open data: the weather, New York and its bicycles, Wikipedia, Pokémon.

use serde_json::{Value, json};
use towpath_testkit::http::{Request, Response, TestServer};

use towpath_testkit::archives::zip;

use super::{Example, column, committed, guarded, page};
use crate::objects::{BUCKET, port, seeded};

#[tokio::test(flavor = "multi_thread")]
async fn openweather() {
    let server = TestServer::start(|request: Request| async move {
        let (Some(city), Some("w-key")) = (request.param("q"), request.param("appid").as_deref()) else {
            return Response::status(401);
        };
        let (name, country) = city.split_once(',').expect("a city and a country");
        let at = |dt: u64| {
            json!({ "dt": dt, "main": { "temp": 11.5, "pressure": 1012, "humidity": 81 }, "wind": { "speed": 4.1, "deg": 80 },
                    "weather": [{ "id": 300, "main": "Drizzle", "description": "light intensity drizzle" }], "visibility": 10_000 })
        };
        if request.path == "/weather" {
            let mut now = at(1_700_000_000);
            now["name"] = name.into();
            now["sys"] = json!({ "country": country, "sunrise": 1_699_990_000 });
            now["cod"] = 200.into();
            return Response::json(&now);
        }
        let list: Vec<_> = (0..40).map(|step| at(1_700_000_000 + step * 10_800)).collect();
        Response::json(&json!({ "cod": "200", "cnt": 40, "list": list, "city": { "name": name, "country": country } }))
    })
    .await;
    let variables = [("OPENWEATHER_URL", server.url("")), ("OPENWEATHER_KEY", "w-key".to_owned())];
    let example = Example::new("openweather.yaml", variables);
    let report = example.run().await;
    assert_eq!((committed(&report, "now"), committed(&report, "forecast")), (3, 120));
    let now = example.rows("weather/now");
    assert_eq!(column(&now, "/name"), ["Berlin", "New York", "Paris"]);
    assert!(now.iter().all(|row| row["main"]["temp"] == 11.5 && row["weather"][0]["main"] == "Drizzle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nyc_open_data() {
    let server = guarded("x-app-token", "nyc-token", |request| {
        let clause = request.param("$where").expect("a window");
        let days: Vec<&str> = clause.split('\'').skip(1).step_by(2).collect();
        if request.param("$order").as_deref() != Some(":id") || days.len() != 2 {
            return Response::status(400);
        }
        let day = &days[0][..10];
        // The second day has more than one page.
        let count = if day.ends_with("02") { 2_300 } else { 700 };
        let all: Vec<Value> = (0..count)
            .map(|n| {
                json!({ "unique_key": format!("{}{n:05}", day.replace('-', "")), "complaint_type": "Noise - Residential",
                        "created_date": format!("{day}T{:02}:{:02}:00.000", n / 60 % 24, n % 60), "incident_zip": "10031",
                        "location": { "latitude": "40.82", "longitude": "-73.95" } })
            })
            .filter(|row| row["created_date"].as_str() >= Some(days[0]) && row["created_date"].as_str() < Some(days[1]))
            .collect();
        let (start, limit) = (request.number("$offset").unwrap_or(0), request.number("$limit").unwrap_or(1_000));
        Response::json(&Value::from(page(&all, start, limit).0))
    })
    .await;
    let variables = [
        ("NYC_URL", server.url("")),
        ("NYC_APP_TOKEN", "nyc-token".to_owned()),
        ("NYC_FROM", "2024-01-01".to_owned()),
        ("NYC_TO", "2024-01-04".to_owned()),
    ];
    let example = Example::new("nyc-open-data.yaml", variables);
    let report = example.run().await;
    assert_eq!(committed(&report, "service_requests"), 3_700);
    let mut keys = column(&example.rows("nyc/service_requests"), "/unique_key");
    keys.dedup();
    assert_eq!((keys.len(), keys[0].as_str()), (3_700, "2024010100000"));
    assert_eq!(server.requests().len(), 1 + 3 + 1, "a short page is the last");
}

#[tokio::test(flavor = "multi_thread")]
async fn wikipedia() {
    let server = TestServer::start(|request: Request| async move {
        let agent = request.header("user-agent").unwrap_or_default();
        if !agent.starts_with("towpath-example/") || request.param("action").as_deref() != Some("query") {
            return Response::status(403);
        }
        let title = request.param("cmtitle").expect("a category");
        let member = |n: u64| {
            json!({ "pageid": n, "ns": 0, "title": format!("{title} {n}"), "type": "page", "timestamp": "2020-01-01T00:00:00Z" })
        };
        let first = if title.ends_with("Physics") { 1_000 } else { 10_000 };
        let all: Vec<_> = (first..first + 700).map(member).collect();
        let start = request.param("cmcontinue").and_then(|at| at.strip_prefix("page|")?.parse().ok()).unwrap_or(0);
        let (members, more) = page(&all, start, 500);
        let mut body = json!({ "query": { "categorymembers": members } });
        if more {
            body["continue"] = json!({ "cmcontinue": format!("page|{}", start + 500), "continue": "-||" });
        } else {
            body["batchcomplete"] = true.into();
        }
        Response::json(&body)
    })
    .await;
    let example = Example::new("wikipedia.yaml", [("WIKIPEDIA_URL", server.url(""))]);
    let report = example.run().await;
    assert_eq!(committed(&report, "category_members"), 1_400);
    let titles = column(&example.rows("wikipedia/category_members"), "/title");
    assert_eq!(titles.iter().filter(|title| title.starts_with("Category:Physics")).count(), 700);
}

#[tokio::test(flavor = "multi_thread")]
async fn pokeapi() {
    let server = TestServer::start(|request: Request| async move {
        let host = request.header("host").expect("every request has one").to_owned();
        if let Some(id) = request.path.strip_prefix("/pokemon/").and_then(|id| id.parse::<u64>().ok()) {
            let kind = |slot: u64, name: &str| json!({ "slot": slot, "type": { "name": name, "url": format!("http://{host}/type/{slot}/") } });
            return Response::json(&json!({
                "id": id, "name": format!("pokemon-{id}"), "height": id % 20, "weight": 10 * id, "base_experience": 64,
                "types": [kind(1, "grass"), kind(2, "poison")], "moves": [], "sprites": { "back_default": null },
            }));
        }
        if let Some(id) = request.path.strip_prefix("/type/").and_then(|id| id.trim_end_matches('/').parse::<u64>().ok()) {
            let pokemon = json!({ "slot": 1, "pokemon": { "name": "bulbasaur", "url": format!("http://{host}/pokemon/1/") } });
            return Response::json(&json!({
                "id": id, "name": format!("type-{id}"), "generation": { "name": "generation-i" }, "pokemon": [pokemon], "moves": [],
            }));
        }
        if request.path == "/type" {
            let types: Vec<_> = (1..=20)
                .map(|id| json!({ "name": format!("type-{id}"), "url": format!("http://{host}/type/{id}/") }))
                .collect();
            return Response::json(&json!({ "count": types.len(), "next": null, "previous": null, "results": types }));
        }
        let all: Vec<_> = (1..=1_302)
            .map(|id| json!({ "name": format!("pokemon-{id}"), "url": format!("http://{host}/pokemon/{id}/") }))
            .collect();
        let (start, limit) = (request.number("offset").unwrap_or(0), request.number("limit").unwrap_or(20));
        let (results, more) = page(&all, start, limit);
        let next = more.then(|| format!("http://{host}/pokemon?offset={}&limit={limit}", start + limit));
        Response::json(&json!({ "count": all.len(), "next": next, "previous": null, "results": results }))
    })
    .await;
    let example = Example::new("pokeapi.yaml", [("POKEAPI_URL", server.url(""))]);
    let report = example.run().await;
    assert_eq!((committed(&report, "names"), committed(&report, "pokemon")), (1_302, 151));
    let pokemon = example.rows("pokeapi/pokemon");
    assert!(
        pokemon.iter().all(|row| row["types"][1]["type"]["name"] == "poison" && row.get("moves").is_none())
    );
    assert_eq!(column(&pokemon, "/id").len(), 151);
    let types = example.rows("pokeapi/types");
    assert_eq!(types.len(), 20);
    assert!(types.iter().all(|row| row["listed_as"] == row["name"] && row["pokemon"][0]["slot"] == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn citibike() {
    let trips = |month: u64| {
        let head = "ride_id,rideable_type,started_at,ended_at,start_station_name,start_station_id,end_station_name,\
                    end_station_id,start_lat,start_lng,end_lat,end_lng,member_casual\n";
        let trip = |n: u64| {
            format!(
                "{month}A{n:04},electric_bike,2024-{month:02}-01 10:00:{:02},2024-{month:02}-01 10:20:00,W 21 St & 6 Ave,\
                 6140.05,Broadway & E 14 St,5905.10,40.74,-73.99,40.73,-73.98,member\n",
                n % 60
            )
        };
        std::iter::once(head.to_owned()).chain((0..500).map(trip)).collect::<String>()
    };
    let (january, april, more) = (trips(1), trips(4), trips(4).replace("4A", "4B"));
    let prefix = seeded(&[
        (
            "202401-citibike-tripdata.csv.zip",
            zip(&[
                ("202401-citibike-tripdata.csv", january.as_bytes()),
                ("__MACOSX/._202401-citibike-tripdata.csv", b"\0\x05\x16\x07"),
            ]),
        ),
        (
            "202404-citibike-tripdata.zip",
            zip(&[
                ("202404-citibike-tripdata_1.csv", april.as_bytes()),
                ("202404-citibike-tripdata_2.csv", more.as_bytes()),
            ]),
        ),
        ("JC-202401-citibike-tripdata.csv.zip", zip(&[("JC-202401-citibike-tripdata.csv", b"x\n")])),
    ]);
    let variables = [
        ("CITIBIKE_URL", format!("http://127.0.0.1:{}", port())),
        ("CITIBIKE_BUCKET", BUCKET.to_owned()),
        ("CITIBIKE_MONTHS", format!("{prefix}/2024??")),
    ];
    let example = Example::new("citibike.yaml", variables);
    assert_eq!(committed(&example.run().await, "trips"), 1_500);
    let rows = example.rows("citibike/trips");
    assert!(rows.iter().all(|row| row["end_station_id"] == "5905.10"));
    let file = rows[0]["archive"].as_str().expect("a path");
    assert!(file.contains("-citibike-tripdata") && file.contains(".zip!/2024"), "{file}");
    assert_eq!(committed(&example.run().await, "trips"), 0);
}
