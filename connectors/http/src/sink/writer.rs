//! Sends the rows of one part: many requests at once, each until the server has taken it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use towpath_core::{Begun, ByteSize, Context, Error, Json, Outcome, Rejected, Result, Staged, Writer};

use super::shape::{Filled, Shape, Unfit};
use super::target::Target;
use super::{refused, rows};
use crate::CONNECTOR;
use crate::client::Answer;
use crate::errors::excerpt;

/// How much of an answer is read where nobody looks at it, so that its connection can be used again.
const UNREAD_ANSWER: ByteSize = ByteSize::mib(1);

/// The largest answer that tells of rows.
const LARGEST_ANSWER: ByteSize = ByteSize::mib(64);

/// How much of a refusal is read.
const REFUSAL_BYTES: usize = 64 << 10;

/// How many single rows are made requests at once.
const SINGLE_ROWS: usize = 512;

/// Sends the rows of one part.
pub struct HttpWriter {
    sender: Arc<Sender>,
    part: u32,
    /// How many rows earlier calls had.
    before: u64,
    /// The requests of the call under way that are settled, by their first row: after an error it is made again with the
    /// same rows.
    settled: HashSet<usize>,
    rows: u64,
    bytes: u64,
    rejected: Vec<Rejected>,
}

/// Makes and sends requests.
struct Sender {
    target: Arc<Target>,
    shape: Shape,
    cx: Context,
    /// What every key of this writer begins with.
    key: HeaderValue,
}

/// A request for some rows of a call.
struct Request {
    first: usize,
    rows: RecordBatch,
    content: Result<Content, Unfit>,
}

enum Content {
    Batch(Bytes),
    Single(Box<Filled>),
}

/// Requests that go one after the other.
type Chain = Vec<Request>;

/// A request that is settled.
struct Sent {
    first: usize,
    rows: u64,
    bytes: u64,
    rejected: Vec<Rejected>,
}

impl Writer for HttpWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        let sent = self.send(&rows).await;
        sent.map_err(|error| error.connector(CONNECTOR.name()).operation("write"))?;
        self.settled.clear();
        self.before += rows.num_rows() as u64;
        Ok(())
    }

    async fn finish(self) -> Result<Staged> {
        let mut staged = Staged::new(self.part, self.rows, self.bytes, Json::Null);
        staged.rejected = self.rejected;
        Ok(staged)
    }
}

impl HttpWriter {
    pub(super) fn new(target: Arc<Target>, cx: &Context, begun: &Begun, part: u32) -> Result<Self> {
        let load = &begun.load;
        let schema: &SchemaRef = begun.schema()?;
        let key = format!("{}-{}-{}-{part}", load.pipeline, load.stream, load.run);
        let key = HeaderValue::from_bytes(key.as_bytes()).map_err(|_| {
            Error::config("the names of pipeline and stream hold characters that no header can")
                .help("rename them: they are part of the Idempotency-Key")
        })?;
        let shape = Shape::new(&target, schema)?;
        Ok(Self {
            sender: Arc::new(Sender { target, shape, cx: cx.clone(), key }),
            part,
            before: 0,
            settled: HashSet::new(),
            rows: 0,
            bytes: 0,
            rejected: Vec::new(),
        })
    }

    /// Sends what is not settled yet. A failure holds back nothing that is under way, and while more succeed than fail,
    /// nothing at all: the next call then has only what failed to send. Where order counts, a failure is the end.
    async fn send(&mut self, rows: &RecordBatch) -> Result<()> {
        let halted = Arc::new(AtomicBool::new(false));
        let (sender, before) = (self.sender.clone(), self.before);
        let settled = Arc::new(std::mem::take(&mut self.settled));
        let most = sender.target.requests_in_flight;
        let halt = halted.clone();
        let chains = sender.chains(rows, &settled).take_while(move |_| {
            let goes_on = !halt.load(Relaxed);
            async move { goes_on }
        });
        let sends = chains.map(move |chain| {
            let sender = sender.clone();
            async move {
                match chain {
                    Ok(chain) => sender.send_chain(chain, before).await,
                    Err(error) => (Vec::new(), Some(error)),
                }
            }
        });
        let mut sends = std::pin::pin!(sends.buffer_unordered(most));
        let (mut done, mut failures, mut failure) = (0_usize, 0_usize, None::<Error>);
        let mut now_settled = HashSet::new();
        while let Some((sent, error)) = sends.next().await {
            for Sent { first, rows, bytes, rejected } in sent {
                now_settled.insert(first);
                done += 1;
                self.rows += rows;
                self.bytes += bytes;
                self.rejected.extend(rejected);
            }
            let Some(error) = error else { continue };
            failures += 1;
            if most == 1 || failures > done || !error.is_retryable() {
                halted.store(true, Relaxed);
            }
            failure = Some(match failure {
                Some(first) if error.is_retryable() || !first.is_retryable() => first,
                _ => error,
            });
        }
        self.settled = settled.iter().copied().chain(now_settled).collect();
        failure.map_or(Ok(()), Err)
    }
}

impl Sender {
    /// The requests for these rows that are not settled yet.
    fn chains(
        self: &Arc<Self>,
        rows: &RecordBatch,
        settled: &Arc<HashSet<usize>>,
    ) -> impl Stream<Item = Result<Chain>> + Send + use<> {
        let block = match (self.target.is_single(), self.shape.order.is_empty()) {
            (false, _) => self.target.batch_rows,
            (true, true) => SINGLE_ROWS,
            // Rows that belong together may be anywhere.
            (true, false) => rows.num_rows().max(1),
        };
        let (sender, settled, rows) = (self.clone(), settled.clone(), rows.clone());
        let begins = (0..rows.num_rows()).step_by(block);
        let blocks = stream::iter(begins).then(move |first| {
            let (sender, settled) = (sender.clone(), settled.clone());
            let rows = rows.slice(first, block.min(rows.num_rows() - first));
            async move { sender.block(first, &rows, &settled).await }
        });
        blocks.flat_map(|chains| match chains {
            Ok(chains) => stream::iter(chains.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        })
    }

    async fn block(&self, first: usize, rows: &RecordBatch, settled: &HashSet<usize>) -> Result<Vec<Chain>> {
        let texts = self.shape.texts(&self.cx, rows).await?;
        let (mut chains, mut by_order) = (Vec::<Chain>::new(), HashMap::new());
        if !self.target.is_single() {
            let mut begin = 0;
            while begin < rows.num_rows() {
                let (mut end, mut bytes) = (begin + 1, texts.length(begin));
                while end < rows.num_rows() && bytes + texts.length(end) <= self.target.batch_bytes {
                    bytes += texts.length(end);
                    end += 1;
                }
                if !settled.contains(&(first + begin)) {
                    let content = Ok(Content::Batch(self.shape.body_of(&texts, begin..end)));
                    let rows = rows.slice(begin, end - begin);
                    chains.push(vec![Request { first: first + begin, rows, content }]);
                }
                begin = end;
            }
            return Ok(chains);
        }
        for row in (0..rows.num_rows()).filter(|row| !settled.contains(&(first + row))) {
            let content = self.shape.fill(&texts, row).map(|filled| Content::Single(Box::new(filled)));
            let request = Request { first: first + row, rows: rows.slice(row, 1), content };
            if self.shape.order.is_empty() {
                chains.push(vec![request]);
                continue;
            }
            let chain = *by_order.entry(self.shape.order_of(&texts, row)).or_insert_with(|| {
                chains.push(Vec::new());
                chains.len() - 1
            });
            chains[chain].push(request);
        }
        Ok(chains)
    }

    /// Sends requests one after the other, until one fails.
    async fn send_chain(&self, chain: Chain, before: u64) -> (Vec<Sent>, Option<Error>) {
        let mut settled = Vec::with_capacity(chain.len());
        for request in chain {
            match self.send(request, before).await {
                Ok(sent) => settled.push(sent),
                Err(error) => return (settled, Some(error)),
            }
        }
        (settled, None)
    }

    async fn send(&self, request: Request, before: u64) -> Result<Sent> {
        let Request { first, rows, content } = request;
        let count = rows.num_rows() as u64;
        let mut headers = HeaderMap::new();
        if let Some(content_type) = self.shape.content_type() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let (url, private, key, body) = match content {
            Ok(Content::Batch(body)) => (self.target.url.clone(), HeaderMap::new(), None, Some(body)),
            Ok(Content::Single(filled)) => {
                let Filled { url, private, key, body } = *filled;
                (url, private, key, body)
            }
            Err(unfit) => {
                let rejected = self.unfit(rows, unfit).await?;
                return Ok(Sent { first, rows: 0, bytes: 0, rejected });
            }
        };
        headers.insert(self.target.idempotency_header.clone(), self.key(key, before + first as u64)?);
        let place = self.target.client.show(&url);
        let length = body.as_ref().map_or(0, |body| body.len() as u64);
        let call = self.target.request(url, headers, private, body);
        let answer = self.target.client.send(&self.cx, call).await?;
        self.cx.metrics().add_bytes_written(length);
        let rejected = self.judge(answer, rows, &place).await?;
        Ok(Sent { first, rows: count - rejected.len() as u64, bytes: length, rejected })
    }

    /// What stands in the header for idempotency.
    fn key(&self, own: Option<HeaderValue>, row: u64) -> Result<HeaderValue> {
        if let Some(own) = own {
            return Ok(own);
        }
        let key = [self.key.as_bytes(), b"-", row.to_string().as_bytes()].concat();
        HeaderValue::from_bytes(&key).map_err(|error| Error::unexpected("a key is no header").source(error))
    }

    /// The rows that an answer refuses.
    async fn judge(&self, answer: Answer, rows: RecordBatch, place: &str) -> Result<Vec<Rejected>> {
        let target = &self.target;
        let Answer { status, mut body, token, .. } = answer;
        let clean = |text: &str| target.client.without_secrets(text, &target.home, token.as_deref());
        if target.refuse.contains(&status) {
            let text = body.beginning(REFUSAL_BYTES, Outcome::Success).await;
            let rules = target.rejected.as_ref();
            let reason = rules.and_then(|rules| refused::reason(rules, text.as_bytes())).unwrap_or(text);
            let reason = match excerpt(&clean(&reason)) {
                Some(reason) => format!("the server answered {status}: {reason}"),
                None => format!("the server answered {status}"),
            };
            let rows = rows::parsed(&self.cx, rows).await?;
            return Ok(rows.into_iter().map(|row| Rejected::new(place, &reason).row(row)).collect());
        }
        let Some(rules) = &target.rejected else {
            // The rows are in; what else the server says is read only to free the connection.
            let _ = body.collect(UNREAD_ANSWER).await;
            return Ok(Vec::new());
        };
        let told = refused::told(rules, &body.collect(LARGEST_ANSWER).await?)?;
        if told.is_empty() {
            return Ok(Vec::new());
        }
        refused::rows(told, &rows::parsed(&self.cx, rows).await?, place, clean)
    }

    /// Rows that make no request.
    async fn unfit(&self, rows: RecordBatch, unfit: Unfit) -> Result<Vec<Rejected>> {
        let place = self.target.client.show(&self.target.url);
        let rows = rows::parsed(&self.cx, rows).await?;
        let rejected = rows.into_iter().map(|row| {
            let rejected = Rejected::new(&place, &unfit.reason).row(row);
            match &unfit.column {
                Some((name, value)) => rejected.column(name, value),
                None => rejected,
            }
        });
        Ok(rejected.collect())
    }
}
