//! How far the streams are: bars on a terminal, a line now and then elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use towpath_engine::{RunProgress, StreamProgress, StreamState};

use super::screen::Screen;
use super::units::{bytes, count, counted, per_second, seconds};

/// How often bars are drawn.
const DRAW: Duration = Duration::from_millis(150);

/// How often a line is written where there are no bars; a short run writes none.
const LINES: Duration = Duration::from_secs(10);

/// Over how long a rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// Shows the progress until it is told to stop.
pub(crate) struct Watcher {
    task: JoinHandle<()>,
    bars: Vec<ProgressBar>,
}

impl Watcher {
    /// Begins to show.
    pub(crate) fn start(progress: &RunProgress, screen: &Screen) -> Self {
        let streams: Vec<_> = progress.streams().iter().cloned().map(Watched::new).collect();
        if !Screen::is_watched() {
            return Self { task: tokio::spawn(write_lines(streams, screen.clone())), bars: Vec::new() };
        }
        let room = Screen::height().saturating_sub(2).max(1);
        let style = ProgressStyle::with_template("{msg}").expect("the template is right");
        let new_bar = |_| screen.bars().add(ProgressBar::new_spinner().with_style(style.clone()));
        let bars: Vec<_> = (0..streams.len().min(room)).map(new_bar).collect();
        Self { task: tokio::spawn(draw(streams, bars.clone())), bars }
    }

    /// Stops and clears the bars.
    pub(crate) fn stop(self) {
        self.task.abort();
        for bar in self.bars {
            bar.finish_and_clear();
        }
    }
}

async fn draw(mut streams: Vec<Watched>, bars: Vec<ProgressBar>) {
    let mut ticks = tokio::time::interval(DRAW);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let width = Screen::width();
        let views: Vec<_> = streams.iter_mut().map(|stream| stream.view(now)).collect();
        let names = views.iter().map(|view| console::measure_text_width(&view.name)).max().unwrap_or(0);
        let lines = choose(&views, bars.len()).into_iter().map(|view| view.line(names, width));
        for (bar, line) in bars.iter().zip(lines) {
            bar.set_message(line);
        }
    }
}

async fn write_lines(mut streams: Vec<Watched>, screen: Screen) {
    let mut ticks = tokio::time::interval(LINES);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let running = streams.iter_mut().map(|stream| stream.view(now));
        let running = running.filter(|view| view.state == StreamState::Running);
        let lines: Vec<_> = running.map(|view| format!("{}\n", view.line(0, usize::MAX))).collect();
        screen.note(&lines.concat());
    }
}

/// The streams that are shown when there is not room for all: those under way first.
fn choose(views: &[View], room: usize) -> Vec<&View> {
    if views.len() <= room {
        return views.iter().collect();
    }
    let mut chosen: Vec<_> = views.iter().collect();
    chosen.sort_by_key(|view| match view.state {
        StreamState::Running => 0,
        StreamState::Waiting => 1,
        StreamState::Ended => 2,
        StreamState::Done => 3,
    });
    chosen.truncate(room);
    chosen
}

/// A stream with what it did in the last seconds.
struct Watched {
    stream: Arc<StreamProgress>,
    recent: VecDeque<(Instant, u64)>,
}

impl Watched {
    fn new(stream: Arc<StreamProgress>) -> Self {
        Self { stream, recent: VecDeque::new() }
    }

    fn view(&mut self, now: Instant) -> View {
        let (source, sink) = (self.stream.source.snapshot(), self.stream.sink.snapshot());
        self.recent.push_back((now, source.rows_read));
        while self.recent.front().is_some_and(|(then, _)| now.duration_since(*then) > RATE_WINDOW) {
            self.recent.pop_front();
        }
        let rate = self.recent.front().and_then(|(then, rows)| {
            per_second(source.rows_read.saturating_sub(*rows), now.duration_since(*then).as_secs_f64())
        });
        View {
            name: self.stream.name().to_owned(),
            state: self.stream.state(),
            rows: source.rows_read,
            bytes: source.bytes_read + sink.bytes_read + sink.bytes_copied,
            in_flight: self.stream.in_flight(),
            rate: rate.unwrap_or(0),
            retries: source.retries + sink.retries,
            rejected: self.stream.rows_rejected(),
            planned: Planned {
                bytes: self.stream.planned_bytes(),
                rows: self.stream.planned_rows(),
                splits: self.stream.splits(),
                splits_done: self.stream.splits_done() + self.stream.splits_failed(),
            },
            elapsed: self.stream.started().map(|started| now.duration_since(started)).unwrap_or_default(),
        }
    }
}

/// What is known of the whole so far.
#[derive(Debug, Clone, Copy, Default)]
struct Planned {
    bytes: u64,
    rows: u64,
    splits: u64,
    splits_done: u64,
}

/// A stream at one moment.
struct View {
    name: String,
    state: StreamState,
    rows: u64,
    bytes: u64,
    in_flight: u64,
    rate: u64,
    retries: u64,
    rejected: u64,
    planned: Planned,
    elapsed: Duration,
}

impl View {
    /// The line of the stream, with as much as fits: what matters most comes first.
    fn line(&self, names: usize, width: usize) -> String {
        let mut line = console::pad_str(&self.name, names, console::Alignment::Left, None).into_owned();
        for part in self.parts() {
            if console::measure_text_width(&line) + 2 + console::measure_text_width(&part) > width {
                break;
            }
            line.push_str("  ");
            line.push_str(&part);
        }
        console::truncate_str(&line, width, "…").into_owned()
    }

    fn parts(&self) -> Vec<String> {
        match self.state {
            StreamState::Waiting => return vec!["waiting".to_owned()],
            StreamState::Done => {
                return vec![format!("done: {}, {}", counted(self.rows, "row"), bytes(self.bytes))];
            }
            StreamState::Ended => {
                return vec![format!("ended: {}, see the report", counted(self.rows, "row"))];
            }
            StreamState::Running => {}
        }
        let mut parts: Vec<_> = self.share().map(bar).into_iter().collect();
        parts.push(counted(self.rows, "row"));
        parts.push(bytes(self.bytes));
        parts.push(format!("{}/s", count(self.rate)));
        parts.push(format!("{} in flight", count(self.in_flight)));
        if self.retries > 0 {
            parts.push(if self.retries == 1 {
                "1 retry".to_owned()
            } else {
                format!("{} retries", count(self.retries))
            });
        }
        if self.rejected > 0 {
            parts.push(format!("{} rejected", count(self.rejected)));
        }
        parts.extend(self.left().map(|left| format!("about {} left", seconds(left))));
        parts
    }

    /// The part of what was planned that is read, as far as it can be told.
    fn share(&self) -> Option<f64> {
        let Planned { bytes, rows, splits, splits_done } = self.planned;
        let (done, all) = match (bytes, rows) {
            (0, 0) if splits > 1 => (splits_done, splits),
            (0, 0) => return None,
            (0, rows) => (self.rows, rows),
            (bytes, _) => (self.bytes, bytes),
        };
        Some((done as f64 / all as f64).min(1.0))
    }

    /// How many seconds are left if it goes on like this.
    fn left(&self) -> Option<f64> {
        const TOO_EARLY: f64 = 0.02;
        let share = self.share().filter(|share| *share >= TOO_EARLY && *share < 1.0)?;
        let elapsed = self.elapsed.as_secs_f64();
        (elapsed >= 2.0).then(|| elapsed * (1.0 - share) / share)
    }
}

fn bar(share: f64) -> String {
    const WIDTH: usize = 12;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is between 0 and 1")]
    let full = (share * WIDTH as f64).round() as usize;
    format!("[{}{}] {:3.0}%", "#".repeat(full), "-".repeat(WIDTH - full), share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> View {
        View {
            name: "sales".into(),
            state: StreamState::Running,
            rows: 1_234_567,
            bytes: 50_000_000,
            in_flight: 8,
            rate: 61_728,
            retries: 1,
            rejected: 0,
            planned: Planned { bytes: 200_000_000, ..Planned::default() },
            elapsed: Duration::from_secs(20),
        }
    }

    #[test]
    fn a_line_tells_all_where_there_is_room() {
        assert_eq!(
            running().line(8, 200),
            "sales     [###---------]  25%  1,234,567 rows  50.0 MB  61,728/s  8 in flight  1 retry  about 1m00s left"
        );
    }

    #[test]
    fn a_narrow_screen_shows_what_matters_most() {
        assert_eq!(running().line(8, 45), "sales     [###---------]  25%  1,234,567 rows");
    }

    #[test]
    fn without_a_plan_there_is_neither_bar_nor_estimate() {
        let view = View { planned: Planned::default(), retries: 0, ..running() };
        assert_eq!(view.line(0, 200), "sales  1,234,567 rows  50.0 MB  61,728/s  8 in flight");
        let splits = Planned { splits: 4, splits_done: 2, ..Planned::default() };
        assert_eq!(View { planned: splits, ..running() }.share(), Some(0.5));
    }

    #[test]
    fn streams_under_way_are_shown_first_when_there_are_many() {
        let view = |name: &str, state| View { name: name.into(), state, ..running() };
        let views =
            [view("a", StreamState::Done), view("b", StreamState::Waiting), view("c", StreamState::Running)];
        let names: Vec<_> = choose(&views, 2).iter().map(|view| view.name.as_str()).collect();
        assert_eq!(names, ["c", "b"]);
    }
}
