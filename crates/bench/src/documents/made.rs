//! Documents that are the same every time.

use bson::oid::ObjectId;
use bson::{DateTime, Document, doc};

use super::Form;
use crate::data::{CATEGORIES, SEED, WORDS};

/// So many documents.
pub(super) fn documents(form: Form, count: u64) -> impl Iterator<Item = Document> {
    let mut random = fastrand::Rng::with_seed(SEED);
    (0..count).map(move |number| match form {
        Form::Small => small(number, &mut random),
        Form::Nested => nested(number, &mut random),
    })
}

/// The first moment: 2026-01-01.
const START: i64 = 1_767_225_600_000;

fn id(number: u64) -> ObjectId {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

fn moment(number: u64) -> DateTime {
    DateTime::from_millis(START + i64::try_from(number).unwrap_or(i64::MAX / 2) * 250)
}

fn whole(random: &mut fastrand::Rng, range: std::ops::Range<i64>) -> i64 {
    random.i64(range)
}

fn one_of(random: &mut fastrand::Rng, words: &[&'static str]) -> &'static str {
    words[random.usize(..words.len())]
}

fn price(random: &mut fastrand::Rng) -> f64 {
    f64::from(random.u32(100..100_000)) / 100.0
}

fn small(number: u64, random: &mut fastrand::Rng) -> Document {
    doc! {
        "_id": id(number),
        "customer": whole(random, 1..1_000_000),
        "quantity": random.i32(1..100),
        "price": price(random),
        "category": one_of(random, &CATEGORIES),
        "name": format!("{} {} {:06}", one_of(random, &WORDS), one_of(random, &WORDS), random.u32(..1_000_000)),
        "paid": random.bool(),
        "at": moment(number),
    }
}

fn nested(number: u64, random: &mut fastrand::Rng) -> Document {
    let items: Vec<Document> = (0..random.usize(1..7)).map(|_| item(random)).collect();
    let mut order = doc! {
        "_id": id(number),
        "number": i64::try_from(number).unwrap_or(i64::MAX),
        "at": moment(number),
        "customer": {
            "name": format!("{} {}", one_of(random, &WORDS), one_of(random, &WORDS)),
            "email": format!("{}.{}@example.com", one_of(random, &WORDS), random.u32(..1_000_000)),
            "address": {
                "street": format!("{} {}", one_of(random, &WORDS), random.u32(1..300)),
                "city": one_of(random, &WORDS),
                "zip": format!("{:05}", random.u32(..100_000)),
                "position": { "latitude": random.f64() * 180.0 - 90.0, "longitude": random.f64() * 360.0 - 180.0 },
            },
        },
        "items": items,
        "total": price(random),
    };
    // Not every document has every field.
    if random.u8(..4) == 0 {
        order.insert("note", format!("{} {}", one_of(random, &WORDS), one_of(random, &WORDS)));
    }
    order
}

fn item(random: &mut fastrand::Rng) -> Document {
    let labels: Vec<&str> = (0..random.usize(..4)).map(|_| one_of(random, &WORDS)).collect();
    doc! {
        "article": whole(random, 1..100_000),
        "name": format!("{} {}", one_of(random, &WORDS), one_of(random, &WORDS)),
        "category": one_of(random, &CATEGORIES),
        "quantity": random.i32(1..20),
        "price": price(random),
        "labels": labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_the_same_every_time() {
        for form in [Form::Small, Form::Nested] {
            let first: Vec<_> = documents(form, 20).collect();
            assert_eq!(first, documents(form, 20).collect::<Vec<_>>());
        }
    }
}
