//! Commits.

use std::sync::Arc;

use towpath_core::{Applied, Begun, CommitToken, Committed, Context, LoadSpec, Result, Staged};

use super::checkpoints::Ledger;
use super::{Shared, apply, refuse, staging_of};

pub(super) async fn commit(
    shared: &Arc<Shared>,
    cx: &Context,
    begun: &Begun,
    token: &CommitToken,
    staged: Vec<Staged>,
) -> Result<Committed> {
    let load = &begun.load;
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
        if ledger.store(cx, held.as_ref(), &next, &[(load.clone(), parts.clone())]).await? {
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
    let Some(parts) = held.pending() else { return Ok(()) };
    // A run of another disposition or key may have committed them.
    let load = held.load().unwrap_or_else(|| load.clone());
    apply::apply(shared, cx, &load, &parts).await?;
    // Who else has changed the checkpoint has found them moved as well.
    ledger.settle(cx, &held).await?;
    for part in parts {
        shared.drop_collection(cx, &part).await?;
    }
    Ok(())
}
