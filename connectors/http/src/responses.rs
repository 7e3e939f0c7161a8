//! Rules for answers: which one fits, and what follows from it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use regex::Regex;
use reqwest::StatusCode;
use towpath_core::{Context, Error, Json, Result, Retry};

use crate::config::{ResponseAction, ResponseRule};
use crate::errors::excerpt;

/// How much of a refusal, or of a body that is streamed, rules look at.
pub(crate) const JUDGED: usize = 64 << 10;

/// How many pages that were left out are named in the report. The log names all of them.
const NAMED: u64 = 20;

/// The rules of a stream.
#[derive(Default)]
pub(crate) struct Responses {
    rules: Vec<Rule>,
    skipped: AtomicU64,
}

struct Rule {
    options: ResponseRule,
    pattern: Option<Regex>,
}

/// What is done with an answer that is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// It is left out.
    Skip,
    /// The URL ends before it.
    Stop,
    /// It has no records.
    Empty,
}

/// An answer before the rules.
pub(crate) struct Case<'a> {
    pub(crate) status: StatusCode,
    /// Its body as far as it is looked at; `None` for one that is too long to be looked at.
    pub(crate) body: Option<&'a str>,
    /// The body as it may be shown.
    pub(crate) shown: &'a str,
    /// How long the server asks to wait.
    pub(crate) wait: Option<Duration>,
}

impl Responses {
    /// Checks the rules.
    pub(crate) fn new(rules: &[ResponseRule]) -> Result<Self> {
        let numbered = rules.iter().enumerate();
        let rules = numbered.map(|(index, options)| {
            let rule = |message: &str| Error::config(format!("rule {} of `responses` {message}", index + 1));
            Rule::new(options.clone(), &rule)
        });
        Ok(Self { rules: rules.collect::<Result<_>>()?, skipped: AtomicU64::new(0) })
    }

    /// Whether there is a rule for answers with this status.
    pub(crate) fn has(&self, status: StatusCode) -> bool {
        self.rules.iter().any(|rule| rule.is_for(status))
    }

    /// What the first rule that fits says; `None` when none does.
    ///
    /// # Errors
    /// That of a `retry` or `fail`; of the kind of `refusal`, which is the error without rules.
    pub(crate) fn judge(&self, case: &Case<'_>, refusal: Option<Error>) -> Result<Option<Ruling>> {
        let found = self.rules.iter().enumerate().find(|(_, rule)| rule.fits(case));
        let Some((index, rule)) = found else { return refusal.map_or(Ok(None), Err) };
        match rule.options.action {
            ResponseAction::Skip => Ok(Some(Ruling::Skip)),
            ResponseAction::Stop => Ok(Some(Ruling::Stop)),
            ResponseAction::Empty => Ok(Some(Ruling::Empty)),
            ResponseAction::Retry => Err(rule.retry(index + 1, case)),
            ResponseAction::Fail => Err(rule.fail(index + 1, case, refusal)),
        }
    }

    /// Tells that a page was left out.
    pub(crate) fn skipped(&self, cx: &Context, url: &str, status: StatusCode) {
        tracing::warn!(stream = cx.stream(), url, %status, "left out, as `responses` says");
        if self.skipped.fetch_add(1, Relaxed) < NAMED {
            cx.metrics().warn(format!("{url} was left out: the server answered {status}"));
        } else {
            cx.metrics().warn(format!("more than {NAMED} pages were left out; the log names each of them"));
        }
    }
}

impl Rule {
    fn new(options: ResponseRule, wrong: &dyn Fn(&str) -> Error) -> Result<Self> {
        let ResponseRule { status, json, equals, exists, contains, matches, action, wait, message } =
            &options;
        if status.is_none() && json.is_none() && contains.is_none() && matches.is_none() {
            return Err(wrong("fits every answer")
                .help("set at least one of `status`, `json`, `contains`, `matches`"));
        }
        if json.is_none() && (equals.is_some() || exists.is_some()) {
            return Err(wrong("says what a value has to be, and not where it is")
                .help("set `json` to a JSONPath, such as $.error.code"));
        }
        if equals.is_some() && exists.is_some() {
            return Err(wrong("has both `equals` and `exists`").help("remove `exists`"));
        }
        if wait.is_some() && *action != ResponseAction::Retry {
            return Err(wrong("has a `wait`, which only `retry` does").help("remove `wait`"));
        }
        if message.is_some() && *action != ResponseAction::Fail {
            return Err(wrong("has a `message`, which only `fail` shows").help("remove `message`"));
        }
        let pattern = matches.as_deref().map(Regex::new).transpose().map_err(|error| {
            wrong("has a regular expression that cannot be read").detail("matches", error)
        })?;
        Ok(Self { options, pattern })
    }

    fn is_for(&self, status: StatusCode) -> bool {
        self.options.status.as_ref().is_none_or(|statuses| statuses.has(status))
    }

    fn fits(&self, case: &Case<'_>) -> bool {
        let ResponseRule { json, equals, exists, contains, .. } = &self.options;
        if !self.is_for(case.status) {
            return false;
        }
        if json.is_none() && contains.is_none() && self.pattern.is_none() {
            return true;
        }
        let Some(body) = case.body else { return false };
        let value_fits = || {
            let Some(path) = json else { return true };
            let value = path.value_in(body).filter(|value| !value.is_null());
            match (equals, value) {
                (Some(Json::Array(wanted)), Some(value)) => wanted.contains(&value),
                (Some(wanted), Some(value)) => *wanted == value,
                (Some(_), None) => false,
                (None, value) => value.is_some() == exists.unwrap_or(true),
            }
        };
        contains.as_deref().is_none_or(|text| body.contains(text))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(body))
            && value_fits()
    }

    fn retry(&self, number: usize, case: &Case<'_>) -> Error {
        let wait = self.options.wait.map(towpath_core::HumanDuration::get).or(case.wait);
        let error = Error::unavailable(format!(
            "the server answered {}, and rule {number} of `responses` says to try again",
            case.status
        ));
        with_body(error.retry(wait.map_or(Retry::Transient, Retry::After)), case)
    }

    fn fail(&self, number: usize, case: &Case<'_>, refusal: Option<Error>) -> Error {
        let kind = refusal.map_or(towpath_core::ErrorKind::DataInvalid, |refusal| refusal.kind());
        let error = match &self.options.message {
            Some(message) => Error::new(kind, message).detail("status", case.status),
            None => Error::new(
                kind,
                format!(
                    "the server answered {}, which rule {number} of `responses` calls an error",
                    case.status
                ),
            ),
        };
        with_body(error.retry(Retry::Never), case)
    }
}

fn with_body(error: Error, case: &Case<'_>) -> Error {
    match excerpt(case.shown) {
        Some(excerpt) => error.detail("body", excerpt),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn responses(rules: Json) -> Result<Responses> {
        Responses::new(&serde_json::from_value::<Vec<ResponseRule>>(rules).unwrap())
    }

    fn skips(rule: Json, status: u16, body: &str) -> bool {
        let mut rule = rule;
        rule["action"] = json!("skip");
        let status = StatusCode::from_u16(status).unwrap();
        let case = Case { status, body: Some(body), shown: "", wait: None };
        responses(json!([rule])).unwrap().judge(&case, None).unwrap().is_some()
    }

    #[test]
    fn all_conditions_of_a_rule_have_to_hold() {
        let body = r#"{"error": {"code": 17, "text": "quota used up"}, "none": null}"#;
        for (rule, fits) in [
            (json!({"status": 200}), true),
            (json!({"status": "4xx"}), false),
            (json!({"json": "$.error"}), true),
            (json!({"json": "$.none"}), false),
            (json!({"json": "$.none", "exists": false}), true),
            (json!({"json": "$.error", "exists": false}), false),
            (json!({"json": "$.error.code", "equals": 17}), true),
            (json!({"json": "$.error.code", "equals": [1, 17]}), true),
            (json!({"json": "$.error.code", "equals": "17"}), false),
            (json!({"json": "$.missing", "equals": 17}), false),
            (json!({"contains": "quota"}), true),
            (json!({"contains": "Quota"}), false),
            (json!({"matches": "(?i)QUOTA .* up"}), true),
            (json!({"status": 200, "contains": "quota", "json": "$.error.code", "equals": 1}), false),
        ] {
            assert_eq!(skips(rule.clone(), 200, body), fits, "{rule}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = responses(json!([
            {"status": 404, "contains": "gone", "action": "stop"},
            {"status": 404, "action": "empty"},
        ]))
        .unwrap();
        let judge = |body| {
            rules.judge(&Case { status: StatusCode::NOT_FOUND, body, shown: "", wait: None }, None).unwrap()
        };
        assert_eq!(judge(Some("it is gone")), Some(Ruling::Stop));
        assert_eq!(judge(Some("who?")), Some(Ruling::Empty));
        // What is too long to be looked at has a status only.
        assert_eq!(judge(None), Some(Ruling::Empty));
        assert!(rules.has(StatusCode::NOT_FOUND) && !rules.has(StatusCode::OK));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        for (rule, message) in [
            (json!({"action": "skip"}), "rule 1 of `responses` fits every answer"),
            (
                json!({"action": "skip", "status": 404, "equals": 1}),
                "rule 1 of `responses` says what a value has to be, and not where it is",
            ),
            (
                json!({"action": "skip", "status": 404, "wait": "1s"}),
                "rule 1 of `responses` has a `wait`, which only `retry` does",
            ),
            (
                json!({"action": "skip", "status": 404, "message": "x"}),
                "rule 1 of `responses` has a `message`, which only `fail` shows",
            ),
            (
                json!({"action": "skip", "matches": "("}),
                "rule 1 of `responses` has a regular expression that cannot be read",
            ),
            (
                json!({"action": "skip", "json": "$.a", "equals": 1, "exists": true}),
                "rule 1 of `responses` has both `equals` and `exists`",
            ),
        ] {
            assert_eq!(responses(json!([rule])).err().unwrap().message(), message);
        }
    }
}
