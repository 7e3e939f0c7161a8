//! Commits.

use std::sync::Arc;

use towpath_core::{Applied, Begun, CommitToken, Committed, Context, LoadSpec, Result, Staged};

use super::apply::Decided;
use super::checkpoints::Ledger;
use super::{Shared, apply, refuse, staging_of};
use crate::config::DeleteMissing;

pub(super) async fn commit(
    shared: &Arc<Shared>,
    cx: &Context,
    begun: &Begun,
    token: &CommitToken,
    staged: Vec<Staged>,
) -> Result<Committed> {
    let load = &begun.load;
    shared.check_whole(token)?;
    let ledger = Ledger::new(shared, load)?;
    let parts = staged.iter().filter_map(|part| staging_of(part).transpose()).collect::<Result<Vec<_>>>()?;
    loop {
        // A call before this one may have decided, and broken off behind that.
        complete(shared, cx, load, &ledger).await?;
        let held = ledger.read(cx).await?;
        let checkpoint =
            held.as_ref().map(super::checkpoints::Held::checkpoint).transpose()?.unwrap_or_default();
        let next = match checkpoint.apply(token)? {
            Applied::Already => return Ok(Committed::AlreadyApplied),
            Applied::Now(next) => next,
        };
        let refused = refuse::refused(shared, cx, begun, &parts).await?;
        if !refused.is_empty() {
            return Ok(Committed::Refused(refused));
        }
        let decided = Decided {
            load: load.clone(),
            parts: parts.clone(),
            missing: shared.config.delete_missing,
            finishes: token.finished.is_some(),
        };
        if ledger.decide(cx, held.as_ref(), &next, &decided).await? {
            complete(shared, cx, load, &ledger).await?;
            return Ok(Committed::Applied);
        }
    }
}

/// Moves the rows that were committed and not moved yet.
pub(super) async fn complete(
    shared: &Arc<Shared>,
    cx: &Context,
    load: &LoadSpec,
    ledger: &Ledger,
) -> Result<()> {
    let Some(held) = ledger.read(cx).await? else { return Ok(()) };
    let Some(decided) = held.decided(load) else { return Ok(()) };
    apply::apply(shared, cx, &decided).await?;
    // Who else has changed the checkpoint has found them moved as well.
    ledger.settle(cx, &held).await?;
    for part in &decided.parts {
        shared.drop_collection(cx, part).await?;
    }
    if decided.finishes && decided.missing != DeleteMissing::No {
        shared.drop_collection(cx, &shared.keys(&decided.load)).await?;
    }
    Ok(())
}
