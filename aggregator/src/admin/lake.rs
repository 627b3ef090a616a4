//! Commands about the lake of all events.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{AdminError, AdminRequest, EraseVisitor, LakeRequest, RebuildRequest, site_id};
use crate::generations::Generations;
use crate::lake::LakeUnavailable;
use crate::server::now_ms;

/// Whether `request` is about the lake.
pub(super) const fn is_about(request: &AdminRequest) -> bool {
    matches!(
        request,
        AdminRequest::Erase(_)
            | AdminRequest::Lake(_)
            | AdminRequest::Rebuild(RebuildRequest::Lake)
    )
}

pub(super) async fn carry_out(
    generations: &Arc<Generations>,
    request: AdminRequest,
) -> Result<Value, AdminError> {
    let lake = generations.lake()?;
    let site = |name: &str| site_id(&generations.control, name);
    match request {
        AdminRequest::Erase(EraseVisitor { site: of, visitor }) => {
            let until = now_ms();
            let erased = lake.erase(site(&of)?, &visitor, until).await?;
            Ok(json!({ "files": erased.files, "events": erased.events, "until_ms": until }))
        }
        AdminRequest::Lake(LakeRequest::Status) => Ok(json!(lake.report())),
        AdminRequest::Lake(LakeRequest::Files) => {
            let lake = lake.lake()?;
            let now = lake.snapshot();
            Ok(json!({
                "place": lake.store().name(),
                "covered_to": now.manifest.covered_to,
                "results": now.manifest.files,
            }))
        }
        AdminRequest::Lake(LakeRequest::Retain { site: of, days }) => {
            let of = site(&of)?;
            let kept = lake.lake()?.retain(of, (days > 0).then_some(days)).await;
            kept.map_err(LakeUnavailable::from)?;
            Ok(json!({ "site_id": of, "days": days }))
        }
        AdminRequest::Rebuild(RebuildRequest::Lake) => {
            lake.rebuild().await?;
            lake.ready().await?;
            Ok(json!(lake.report()))
        }
        _ => Err(AdminError::NoState),
    }
}
