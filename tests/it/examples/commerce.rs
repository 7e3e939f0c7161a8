//! Services for trade: Stripe, Shopify.

use serde_json::{Value, json};
use towpath_testkit::http::Response;

use super::{Example, column, committed, guarded, page};

#[tokio::test(flavor = "multi_thread")]
async fn stripe() {
    let server = guarded("authorization", "Bearer sk_test", |request| {
        let since = request.number("created[gte]").unwrap_or(0);
        let object = |n: u64| {
            // Newest first.
            let created = 1_700_000_000 + (300 - n) * 60;
            if request.path == "/customers" {
                return json!({ "id": format!("cus_{n}"), "object": "customer", "email": format!("c{n}@example.com"),
                               "created": created, "metadata": {}, "livemode": false });
            }
            json!({ "id": format!("ch_{n}"), "object": "charge", "amount": 100 * n, "currency": "usd", "created": created,
                    "paid": true, "refunded": false, "customer": null, "metadata": { "order_id": n.to_string() },
                    "billing_details": { "address": { "city": null, "country": "DE" }, "name": "Ann" } })
        };
        let all: Vec<_> =
            (0..250).map(object).filter(|object| object["created"].as_u64() >= Some(since)).collect();
        let start = match request.param("starting_after") {
            None => 0,
            Some(after) => match all.iter().position(|object| object["id"] == after.as_str()) {
                Some(position) => position as u64 + 1,
                None => return Response::status(400),
            },
        };
        let (data, more) = page(&all, start, request.number("limit").unwrap_or(10));
        Response::json(&json!({ "object": "list", "url": request.path, "has_more": more, "data": data }))
    })
    .await;
    let variables = [("STRIPE_URL", server.url("")), ("STRIPE_KEY", "sk_test".to_owned())];
    let example = Example::new("stripe.yaml", variables);
    let report = example.run().await;
    assert_eq!((committed(&report, "charges"), committed(&report, "customers")), (250, 250));
    let charges = example.rows("stripe/charges");
    let total: u64 = charges.iter().filter_map(|charge| charge["amount"].as_u64()).sum();
    assert_eq!(total, 100 * (0..250).sum::<u64>());
    assert_eq!(column(&charges, "/billing_details/address/country")[0], "DE");

    server.clear();
    let report = example.run().await;
    assert!(
        server.targets().iter().any(|target| target.contains("created%5Bgte%5D=1700018000")),
        "{:?}",
        server.targets()
    );
    assert_eq!(committed(&report, "charges"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn shopify() {
    let server = guarded("x-shopify-access-token", "shpat", |request| {
        let info = request.param("page_info");
        if info.is_some() && request.param("status").is_some() {
            // A page is asked for by its `page_info` and nothing else.
            return Response::status(400);
        }
        let start: u64 = info.and_then(|info| info.strip_prefix("p")?.parse().ok()).unwrap_or(0);
        let (key, count) = if request.path == "/orders.json" { ("orders", 600) } else { ("products", 40) };
        let item = |n: u64| {
            json!({ "id": 450_789_469 + n, "name": format!("#{n}"), "updated_at": format!("2024-03-01T{:02}:00:00-05:00", n % 24),
                    "total_price": format!("{n}.90"), "currency": "EUR", "line_items": [{ "id": n, "quantity": 2, "price": "10.00" }],
                    "customer": { "id": n % 7, "email": "bob@example.com" } })
        };
        let all: Vec<_> = (0..count).map(item).collect();
        let (items, more) = page(&all, start, 250);
        let response = Response::json(&json!({ key: items }));
        let host = request.header("host").expect("every request has one");
        let at = |start| format!("<http://{host}{}?limit=250&page_info=p{start}>", request.path);
        if more {
            response.header("Link", format!("{}; rel=\"previous\", {}; rel=\"next\"", at(0), at(start + 250)))
        } else {
            response.header("Link", format!("{}; rel=\"previous\"", at(0)))
        }
    })
    .await;
    let variables = [
        ("SHOPIFY_URL", server.url("")),
        ("SHOPIFY_TOKEN", "shpat".to_owned()),
        ("SHOPIFY_RATE", "1000/s".to_owned()),
    ];
    let example = Example::new("shopify.yaml", variables);
    let report = example.run().await;
    assert_eq!((committed(&report, "orders"), committed(&report, "products")), (600, 40));
    let orders = example.rows("shopify/orders");
    let quantities: Vec<&Value> = orders.iter().map(|order| &order["line_items"][0]["quantity"]).collect();
    assert!(quantities.iter().all(|quantity| **quantity == 2));
    assert_eq!(column(&orders, "/id")[599], "450790068");
}
