use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{Committed, DynSource, Resume, ScanRequest};
use towpath_layers::{LayerSettings, layer_sink, layer_source};

use crate::support::{Fault, Faults, Memory, Numbers, begun, context, read_all, rows, secs, token};

fn settings() -> LayerSettings {
    serde_json::from_value(json!({"timeout": {"operation": "30s", "idle": "1m"}})).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_read_that_hangs_anywhere_is_cut_off_and_goes_on() {
    let undisturbed = Faults::none();
    read_all(&*Numbers::new(Resume::Exact, &undisturbed), &context()).await.unwrap();
    for event in 1..undisturbed.events() {
        let faults = Faults::at(event, Fault::Hang);
        let (source, cx) = (Numbers::new(Resume::Exact, &faults), context());
        let read = read_all(&*layer_source(source.clone(), &settings()), &cx).await.unwrap();
        assert_eq!(read, source.all(), "hangs at event {event}");
        let seen = cx.metrics().snapshot();
        assert_eq!((seen.retries, seen.rows_read, seen.batches), (1, 8, 4), "each row is counted once");
        assert!(seen.source_wait >= 60_000_000_000, "the reader waited for the timeout and the retry");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_hangs_anywhere_is_cut_off_and_goes_on() {
    for event in 0..6 {
        let faults = Faults::at(event, Fault::Hang);
        let source = layer_source(Numbers::new(Resume::Exact, &faults), &settings());
        let plan = source.plan(&context(), &ScanRequest::default()).await.unwrap();
        let steps: Vec<_> = plan.splits.try_collect().await.unwrap();
        assert_eq!(steps.len(), 5, "hangs at event {event}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_hangs_is_cut_off_and_lands_once() {
    for event in [3, 4] {
        let faults = Faults::at(event, Fault::Hang);
        let memory = Memory::new(&faults);
        let (sink, cx) = (layer_sink(memory.clone(), &settings()), context());
        let mut writer = sink.writer(&cx, &begun(), 0).await.unwrap();
        writer.write(rows(&[1, 2])).await.unwrap();
        let staged = writer.finish().await.unwrap();
        let committed = sink.commit(&cx, &begun(), &token(1), vec![staged]).await.unwrap();
        let expected = if event == 3 { Committed::Applied } else { Committed::AlreadyApplied };
        assert_eq!(committed, expected);
        assert_eq!(memory.state.lock().unwrap().committed, [1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_ends_without_a_second_try() {
    let faults = Faults::at(1, Fault::Hang);
    let sink = layer_sink(Memory::new(&faults), &settings());
    let mut writer = sink.writer(&context(), &begun(), 0).await.unwrap();
    assert!(!writer.write(rows(&[1])).await.unwrap_err().is_retryable());
    assert_eq!(faults.events(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_layered_source_shows_the_capabilities_of_its_connector() {
    for resume in [Resume::None, Resume::Split, Resume::Exact] {
        let source = layer_source(Numbers::new(resume, &Faults::none()), &LayerSettings::default());
        assert_eq!(DynSource::capabilities(&*source).resume, resume);
    }
}

#[test]
fn settings_have_defaults_and_refuse_what_they_do_not_know() {
    let settings: LayerSettings = serde_json::from_value(json!({})).unwrap();
    assert_eq!(settings, LayerSettings::default());
    assert_eq!(settings.retry.attempts.get(), 5);
    assert_eq!(settings.timeout.idle, Some(secs(300).into()));
    for wrong in [
        json!({"retries": {}}),
        json!({"retry": {"attempt": 3}}),
        json!({"retry": {"attempts": 0}}),
        json!({"timeout": {"idle": 30}}),
        json!({"timeout": {"connect": "3s"}}),
    ] {
        assert!(serde_json::from_value::<LayerSettings>(wrong.clone()).is_err(), "{wrong}");
    }
    let unbounded = json!({"retry": {"total": null}, "timeout": {"idle": null}});
    let unbounded: LayerSettings = serde_json::from_value(unbounded).unwrap();
    assert_eq!((unbounded.retry.total, unbounded.timeout.idle), (None, None));
}
