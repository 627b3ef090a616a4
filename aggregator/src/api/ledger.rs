//! Fates, and dead letters.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};

use super::{
    Shared,
    auth::Member,
    body::Body,
    problem::{Code, Problem, ProblemBody},
};
use crate::ledger::{
    LedgerError, LedgerQuery, LedgerReport, LetterList, LetterQuery, ReplayAnswer, ReplayRequest,
    UNKNOWN,
};

/// What became of everything that was received: by hour or day, and what is still on its way.
#[utoipa::path(
    get,
    path = "/api/v1/ledger",
    params(LedgerQuery),
    responses(
        (status = 200, description = "Fates by time", body = LedgerReport),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn ledger(
    member: Member,
    State(state): State<Shared>,
    query: Result<Query<LedgerQuery>, QueryRejection>,
) -> Result<Json<LedgerReport>, Problem> {
    let Query(query) = query.map_err(wrong)?;
    if query.site_id == UNKNOWN {
        member.admin()?;
    } else {
        member.site(&state, &query.site_id)?;
    }
    Ok(Json(state.desk.ledger(&query).await?))
}

/// Refused events of a site, newest first, with what they held.
#[utoipa::path(
    get,
    path = "/api/v1/dead-letters",
    params(LetterQuery),
    responses(
        (status = 200, description = "A page of them", body = LetterList),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn letters(
    member: Member,
    State(state): State<Shared>,
    query: Result<Query<LetterQuery>, QueryRejection>,
) -> Result<Json<LetterList>, Problem> {
    let Query(query) = query.map_err(wrong)?;
    member.site(&state, &query.site_id)?;
    Ok(Json(state.desk.letters(&query).await?))
}

/// Sends refused events again, through a collector, with the times that they had. Each counts once, however often it is
/// replayed. At most 1,000 at a time: `more` says whether there are more.
#[utoipa::path(
    post,
    path = "/api/v1/dead-letters/replay",
    request_body = ReplayRequest,
    responses(
        (status = 200, description = "What came of each", body = ReplayAnswer),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The collector did not take them", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn replay(
    member: Member,
    State(state): State<Shared>,
    Body(request): Body<ReplayRequest>,
) -> Result<Json<ReplayAnswer>, Problem> {
    member.site(&state, &request.site_id)?;
    if request.collector.is_some() {
        // The site's secret key goes where it says.
        member.admin()?;
    }
    Ok(Json(state.desk.replay(&request).await?))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn wrong(rejection: QueryRejection) -> Problem {
    Problem::with(Code::Invalid, rejection.body_text())
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let code = match &error {
            LedgerError::Time(_)
            | LedgerError::Reason(_)
            | LedgerError::Backwards
            | LedgerError::TooLong(_)
            | LedgerError::CollectorUrl => Code::Invalid,
            LedgerError::NoSite(_) | LedgerError::NoLetter(_) => Code::NotFound,
            LedgerError::NoCollector | LedgerError::NoServerKey(_) => Code::Conflict,
            LedgerError::Send(_) | LedgerError::Stopping => Code::Unavailable,
            LedgerError::Fates(_) | LedgerError::Letters(_) => {
                tracing::error!(error = %crate::causes::Causes(&error), "read the ledger");
                return Self::new(Code::Unavailable);
            }
        };
        Self::with(code, error.to_string())
    }
}
