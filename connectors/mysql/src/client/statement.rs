//! Prepared statements: values travel apart from the text, and rows come in the binary protocol.

use std::sync::Arc;

use bytes::Buf;
use mysql_common::packets::{Column, ComStmtExecuteRequestBuilder};
use mysql_common::proto::MySerialize;
use mysql_common::value::Value;
use towpath_core::{Error, Result};

use super::reply::{ERROR, Reply, column, server_error};
use super::{Client, State, command};
use crate::errors::malformed;

/// A statement that the server has understood.
struct Prepared {
    id: u32,
    parameters: usize,
    columns: Arc<[Column]>,
}

impl Client {
    /// The columns that a statement would give, without running it.
    pub(crate) async fn describe(&mut self, sql: &str) -> Result<Arc<[Column]>> {
        let prepared = self.prepare(sql).await?;
        self.close_statement(prepared.id).await?;
        Ok(prepared.columns)
    }

    /// Runs a statement with these values for its question marks. Its rows are then taken by
    /// [`next_rows`](Self::next_rows).
    pub(crate) async fn start(&mut self, sql: &str, values: &[Value]) -> Result<Arc<[Column]>> {
        let prepared = self.prepare(sql).await?;
        if prepared.parameters != values.len() {
            self.close_statement(prepared.id).await?;
            return Err(Error::config(format!("the SQL has {} question marks", prepared.parameters))
                .connector(crate::NAME)
                .help("write values into the SQL itself"));
        }
        self.run(&prepared, values).await
    }

    async fn prepare(&mut self, sql: &str) -> Result<Prepared> {
        let mut payload = Vec::with_capacity(1 + sql.len());
        payload.push(command::PREPARE);
        payload.extend_from_slice(sql.as_bytes());
        self.begin(&payload).await?;
        let packet = self.wire.read().await?;
        if packet.first() == Some(&ERROR) {
            self.state = State::Idle;
            return Err(server_error(&packet).into());
        }
        if packet.len() < 9 {
            return Err(malformed("an answer to a statement"));
        }
        let mut rest = &packet[1..];
        let (id, columns, parameters) = (rest.get_u32_le(), rest.get_u16_le(), rest.get_u16_le());
        for _ in 0..parameters {
            self.wire.read().await?;
        }
        let columns = self.columns(columns.into()).await?;
        self.state = State::Idle;
        Ok(Prepared { id, parameters: parameters.into(), columns })
    }

    async fn run(&mut self, prepared: &Prepared, values: &[Value]) -> Result<Arc<[Column]>> {
        let (body, is_long) = ComStmtExecuteRequestBuilder::new(prepared.id).build(values);
        if is_long {
            return Err(Error::data("a value is too long to compare with").connector(crate::NAME));
        }
        let mut payload = Vec::new();
        body.serialize(&mut payload);
        self.begin(&payload).await?;
        let packet = self.wire.read().await?;
        match self.answer(&packet) {
            Ok(Reply::Columns(count)) => {
                let columns = self.columns(count).await?;
                self.state = State::Rows { statement: prepared.id };
                Ok(columns)
            }
            Ok(Reply::Done(outcome)) => {
                self.end_of_results(outcome).await?;
                self.close_statement(prepared.id).await?;
                Ok(Arc::default())
            }
            Ok(Reply::WantsData) => Err(malformed("a request for data")),
            Err(error) => {
                if self.state == State::Idle {
                    self.close_statement(prepared.id).await?;
                }
                Err(error)
            }
        }
    }

    async fn columns(&mut self, count: usize) -> Result<Arc<[Column]>> {
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            columns.push(column(&self.wire.read().await?)?);
        }
        Ok(columns.into())
    }

    /// Lets the server forget a statement; it does not answer.
    pub(super) async fn close_statement(&mut self, id: u32) -> Result<()> {
        let mut payload = [command::CLOSE_STATEMENT, 0, 0, 0, 0];
        payload[1..].copy_from_slice(&id.to_le_bytes());
        self.begin(&payload).await?;
        self.state = State::Idle;
        Ok(())
    }
}
