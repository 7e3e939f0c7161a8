//! What a child's own source is asked for.

use towpath_core::{Position, Predicate, ScanRequest};

use super::row::Wanted;

/// What the child's own source is asked for: nothing of what its rows get from the parent.
pub(super) fn child_request(request: &ScanRequest, wanted: &Wanted) -> ScanRequest {
    let is_included = |column: &String| wanted.include.iter().any(|(name, _)| name == column);
    let mut asked = request.clone();
    if let Some(columns) = &mut asked.columns {
        columns.retain(|column| !is_included(column));
    }
    asked.since = Position::Start;
    asked.columns = asked.columns.filter(|columns| !columns.is_empty());
    asked.cursor = asked.cursor.filter(|range| !is_included(&range.field));
    asked.filter = asked.filter.and_then(|filter| without(filter, &is_included));
    asked
}

/// A condition without those on some columns; it holds for no fewer rows.
fn without(filter: Predicate, is_out: &impl Fn(&String) -> bool) -> Option<Predicate> {
    let own = match &filter {
        Predicate::Compare { column, .. }
        | Predicate::In { column, .. }
        | Predicate::IsNull(column)
        | Predicate::IsNotNull(column) => !is_out(column),
        Predicate::Or(any) => any.iter().all(|one| without(one.clone(), is_out).as_ref() == Some(one)),
        Predicate::And(all) => {
            let mut kept: Vec<_> = all.iter().filter_map(|one| without(one.clone(), is_out)).collect();
            return if kept.len() < 2 { kept.pop() } else { Some(Predicate::And(kept)) };
        }
    };
    own.then_some(filter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use towpath_core::Comparison;

    fn equal(column: &str) -> Predicate {
        Predicate::Compare { column: column.to_owned(), comparison: Comparison::Equal, value: json!(1) }
    }

    #[test]
    fn conditions_on_included_columns_are_not_for_the_childs_source() {
        let is_out = |column: &String| column == "customer_id";
        let both = Predicate::And(vec![equal("id"), equal("customer_id")]);
        assert_eq!(without(both, &is_out), Some(equal("id")));
        let either = Predicate::Or(vec![equal("id"), equal("customer_id")]);
        assert_eq!(without(either, &is_out), None);
        let either = Predicate::Or(vec![equal("id"), equal("name")]);
        assert_eq!(without(either.clone(), &is_out), Some(either));
    }
}
