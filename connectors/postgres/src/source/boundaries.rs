//! Where to cut a table or query by a column.

use tokio_postgres::types::Type;
use towpath_core::{Json, Result};
use towpath_sql::{Dialect, between_integers, between_uuids};

use super::plan::BLOCK;
use super::{PostgresSource, Shape};
use crate::catalog;
use crate::errors::failed;
use crate::snapshot::Reading;

/// How many pieces the result of a query is cut into: nobody knows how large it is.
const PIECES_OF_A_QUERY: u64 = 16;
const MOST_PIECES: usize = 10_000;

/// Where to cut: by what the server has counted, else evenly between the least and the greatest.
pub(super) async fn boundaries(
    source: &PostgresSource,
    reading: &Reading,
    shape: &Shape,
    column: &str,
) -> Result<Vec<Json>> {
    let size = source.inner.config.split_size.bytes().max(1);
    let pieces = match &shape.relation {
        Some(relation) if relation.blocks > 0 => (relation.blocks * BLOCK).div_ceil(size),
        _ => PIECES_OF_A_QUERY,
    };
    let pieces = usize::try_from(pieces).unwrap_or(usize::MAX).clamp(1, MOST_PIECES);
    if pieces == 1 {
        return Ok(Vec::new());
    }
    if let Some(relation) = &shape.relation {
        let known = catalog::histogram(&reading.session, relation, column).await?;
        if known.len() > 2 {
            return Ok(of_histogram(&known[1..known.len() - 1], pieces));
        }
    }
    evenly(source, reading, shape, column, pieces).await
}

/// Some of the values between which lie about as many rows each.
fn of_histogram(inner: &[String], pieces: usize) -> Vec<Json> {
    let pieces = pieces.min(inner.len() + 1);
    (1..pieces).map(|piece| inner[piece * inner.len() / pieces].as_str().into()).collect()
}

async fn evenly(
    source: &PostgresSource,
    reading: &Reading,
    shape: &Shape,
    column: &str,
    pieces: usize,
) -> Result<Vec<Json>> {
    let Some(described) = shape.described(column) else { return Ok(Vec::new()) };
    let name = Dialect::Postgres.identifier(column);
    let from = source.what()?.from();
    match described.data_type {
        Type::UUID => Ok(between_uuids(pieces).into_iter().map(Json::from).collect()),
        Type::INT2 | Type::INT4 | Type::INT8 => between_numbers(reading, &name, &from, pieces).await,
        Type::DATE | Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let from = format!("{from} WHERE isfinite({name})");
            by_the_server(reading, &name, &from, pieces).await
        }
        Type::NUMERIC => by_the_server(reading, &name, &from, pieces).await,
        _ => Ok(Vec::new()),
    }
}

async fn between_numbers(reading: &Reading, name: &str, from: &str, pieces: usize) -> Result<Vec<Json>> {
    let sql = format!("SELECT min({name})::int8, max({name})::int8 FROM {from}");
    let row = reading.session.client().query_one(&sql, &[]).await;
    let row = row.map_err(|error| failed("looking for the least and the greatest key", error))?;
    let (Some(least), Some(greatest)): (Option<i64>, Option<i64>) = (row.get(0), row.get(1)) else {
        return Ok(Vec::new());
    };
    let inner = between_integers(least.into(), greatest.into(), pieces);
    Ok(inner.into_iter().filter_map(|value| i64::try_from(value).ok()).map(Json::from).collect())
}

/// Types with which the server counts better than we do.
async fn by_the_server(reading: &Reading, name: &str, from: &str, pieces: usize) -> Result<Vec<Json>> {
    // In the order of the values, and not of their texts, which would have the same name.
    let sql = format!(
        "SELECT boundary::text FROM (SELECT DISTINCT least + (greatest - least) * piece / {pieces} AS boundary \
         FROM (SELECT min({name}) AS least, max({name}) AS greatest FROM {from}) AS range, \
         generate_series(1, {pieces} - 1) AS piece) AS boundaries WHERE boundary IS NOT NULL ORDER BY boundaries.boundary"
    );
    let rows = reading.session.client().query(&sql, &[]).await;
    let rows = rows.map_err(|error| failed("looking for the least and the greatest key", error))?;
    Ok(rows.iter().map(|row| row.get::<_, String>(0).into()).collect())
}
