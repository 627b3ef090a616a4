//! Plausible's older `GET /api/v1/stats/…`: the same answers in the shapes that its clients know.

mod words;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use self::words::{date_range, filters};
use super::{AskError, Request, Stores, ask_parsed, visitors_now};
use crate::api::{
    Shared,
    auth::{Member, Viewer},
    problem::{Code, Problem, ProblemBody},
};

/// Rows of a page where none are said, and the most.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// What can be asked in the older form.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OlderQuery {
    /// Id or domain of the site.
    site_id: String,
    /// `12mo`, `6mo`, `month`, `30d` (the default), `7d`, `day`, or `custom` with two dates.
    period: Option<String>,
    /// The day that `period` is about or ends before, today if it is not said; of `custom` two, with a comma.
    date: Option<String>,
    /// Names of metrics, with commas; `visitors` if they are not said.
    metrics: Option<String>,
    /// `dimension==value`, `!=`, `~` (contains) or `!~`, several values with `|` and several filters with `;`. `*` stands
    /// for any characters but `/`, `**` for any.
    filters: Option<String>,
    /// The dimension of a breakdown.
    property: Option<String>,
    /// `previous_period`.
    compare: Option<String>,
    /// `date` or `month`, of a time series.
    interval: Option<String>,
    /// Rows of a page of a breakdown, 1 to 1000.
    limit: Option<usize>,
    /// The page of a breakdown, from 1.
    page: Option<usize>,
    /// There is no imported data: either will do.
    #[expect(dead_code, reason = "clients send it, and it changes nothing")]
    with_imported: Option<bool>,
}

/// An answer in the older form.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(crate) struct OlderAnswer {
    /// An object of metrics, or a list of rows.
    results: Value,
}

type Params = Result<Query<OlderQuery>, QueryRejection>;

/// Visitors of the last five minutes.
#[utoipa::path(
    get,
    path = "/api/v1/stats/realtime/visitors",
    params(("site_id" = String, Query, description = "Id or domain")),
    responses(
        (status = 200, description = "A number", body = i64),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn realtime_visitors(
    Viewer(member): Viewer,
    State(state): State<Shared>,
    params: Params,
) -> Result<Json<i64>, Problem> {
    let Query(asked) = params.map_err(|rejection| refused(&rejection))?;
    let site = member.site(&state, &asked.site_id)?;
    Ok(Json(
        visitors_now(site, &*state.metrics, (state.clock)()).await?,
    ))
}

/// Metrics of a period as one object: `{"results": {"visitors": {"value": 1}}}`.
#[utoipa::path(
    get,
    path = "/api/v1/stats/aggregate",
    params(OlderQuery),
    responses(
        (status = 200, description = "The answer", body = OlderAnswer),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn aggregate(
    Viewer(member): Viewer,
    State(state): State<Shared>,
    params: Params,
) -> Result<Json<OlderAnswer>, Problem> {
    let Query(asked) = params.map_err(|rejection| refused(&rejection))?;
    let compared = compares(&asked)?;
    let mut question = question(&asked, &member, &state)?;
    if compared {
        question["include"]["comparisons"] = json!({"mode": "previous_period"});
    }
    let answer = answer(question, &member, &state).await?;
    let row = &answer["results"][0];
    let mut results = Map::new();
    for (at, metric) in metrics(&asked).into_iter().enumerate() {
        let mut value = json!({"value": row["metrics"][at]});
        if compared {
            value["change"] = row["comparison"]["change"][at].clone();
        }
        results.insert(metric, value);
    }
    Ok(Json(OlderAnswer {
        results: results.into(),
    }))
}

/// Metrics by time: `{"results": [{"date": "2026-11-21", "visitors": 1}]}`, with all dates.
#[utoipa::path(
    get,
    path = "/api/v1/stats/timeseries",
    params(OlderQuery),
    responses(
        (status = 200, description = "The answer", body = OlderAnswer),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn timeseries(
    Viewer(member): Viewer,
    State(state): State<Shared>,
    params: Params,
) -> Result<Json<OlderAnswer>, Problem> {
    let Query(asked) = params.map_err(|rejection| refused(&rejection))?;
    let mut question = question(&asked, &member, &state)?;
    let time = match (asked.interval.as_deref(), asked.period.as_deref()) {
        (Some("month"), _) | (None, Some("12mo" | "6mo")) => "time:month",
        (None, Some("day")) => "time:hour",
        (Some("date" | "day") | None, _) => "time:day",
        (Some(other), _) => {
            return Err(invalid(format!(
                "interval: {other:?} is none: date or month"
            )));
        }
    };
    question["dimensions"] = json!([time]);
    question["include"]["time_labels"] = json!(true);
    of_rows(&mut question);
    let answer = answer(question, &member, &state).await?;
    let rows = answer["results"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let labels = answer["meta"]["time_labels"].as_array();
    let labels = labels.map(Vec::as_slice).unwrap_or_default();
    let results = labels.iter().map(|label| {
        let row = rows.iter().find(|row| row["dimensions"][0] == *label);
        let mut result = Map::from_iter([("date".to_owned(), label.clone())]);
        for (at, metric) in metrics(&asked).into_iter().enumerate() {
            let value = row.map_or_else(|| of_nothing(&metric), |row| row["metrics"][at].clone());
            result.insert(metric, value);
        }
        Value::Object(result)
    });
    Ok(Json(OlderAnswer {
        results: results.collect(),
    }))
}

/// Metrics by a property: `{"results": [{"source": "Google", "visitors": 1}]}`.
#[utoipa::path(
    get,
    path = "/api/v1/stats/breakdown",
    params(OlderQuery),
    responses(
        (status = 200, description = "The answer", body = OlderAnswer),
        (status = "4XX", description = "What is wrong", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn breakdown(
    Viewer(member): Viewer,
    State(state): State<Shared>,
    params: Params,
) -> Result<Json<OlderAnswer>, Problem> {
    let Query(asked) = params.map_err(|rejection| refused(&rejection))?;
    let property = asked.property.clone();
    let property = property.ok_or_else(|| invalid("property: give one, such as visit:source"))?;
    let limit = asked.limit.unwrap_or(LIMIT);
    let page = asked.page.unwrap_or(1);
    if !(1..=MAX_LIMIT).contains(&limit) || page == 0 {
        return Err(invalid(format!(
            "limit is from 1 to {MAX_LIMIT}, page from 1"
        )));
    }
    let mut question = question(&asked, &member, &state)?;
    question["dimensions"] = json!([property]);
    question["pagination"] = json!({"limit": limit, "offset": (page - 1).saturating_mul(limit)});
    if property != "event:goal" {
        of_rows(&mut question);
    }
    let answer = answer(question, &member, &state).await?;
    // The property without what it is of, and without what properties of events begin with.
    let mut name = property.splitn(3, ':').skip(1);
    let name = match (name.next(), name.next()) {
        (Some("props"), Some(custom)) => custom,
        (Some(name), _) => name,
        (None, _) => &property,
    };
    let rows = answer["results"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let results = rows.iter().map(|row| {
        let mut result = Map::from_iter([(name.to_owned(), row["dimensions"][0].clone())]);
        let values = metrics(&asked).into_iter().enumerate();
        result.extend(values.map(|(at, metric)| (metric, row["metrics"][at].clone())));
        Value::Object(result)
    });
    Ok(Json(OlderAnswer {
        results: results.collect(),
    }))
}

fn refused(rejection: &QueryRejection) -> Problem {
    let said = rejection.body_text();
    let said = said.rsplit(": ").next().unwrap_or_default();
    invalid(if said.starts_with("missing field `site_id`") {
        "site_id: give the id or the domain of a site"
    } else {
        said
    })
}

fn invalid(why: impl Into<String>) -> Problem {
    Problem::with(Code::Invalid, why)
}

async fn answer(question: Value, member: &Member, state: &Shared) -> Result<Value, Problem> {
    let request: Request =
        serde_json::from_value(question).map_err(|error| AskError::Query(error.to_string()))?;
    let control = member.snapshot(state);
    let pinned = state.metrics.pinned();
    let stores = Stores {
        control: &control,
        metrics: pinned.as_deref().unwrap_or(&*state.metrics),
        events: &state.events,
    };
    let answer = ask_parsed(request, stores, (state.clock)()).await?;
    serde_json::to_value(answer).map_err(|_| Problem::new(Code::Internal))
}

/// What the older form means in the newer one, but for what each call adds.
fn question(asked: &OlderQuery, member: &Member, state: &Shared) -> Result<Value, Problem> {
    let site = member.site(state, &asked.site_id)?;
    Ok(json!({
        "site_id": site,
        "metrics": metrics(asked),
        "date_range": date_range(asked).map_err(invalid)?,
        "filters": filters(asked.filters.as_deref().unwrap_or_default()).map_err(invalid)?,
        "include": {},
    }))
}

fn compares(asked: &OlderQuery) -> Result<bool, Problem> {
    match asked.compare.as_deref() {
        None => Ok(false),
        Some("previous_period") => Ok(true),
        Some(other) => Err(invalid(format!(
            "compare: {other:?} is none: previous_period"
        ))),
    }
}

/// In rows, conversion is of those in the row.
fn of_rows(question: &mut Value) {
    for metric in question["metrics"].as_array_mut().into_iter().flatten() {
        if metric == "conversion_rate" {
            *metric = json!("group_conversion_rate");
        }
    }
}

fn metrics(asked: &OlderQuery) -> Vec<String> {
    let names = asked.metrics.as_deref().unwrap_or("visitors");
    names
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect()
}

/// What is said of a time without anything.
fn of_nothing(metric: &str) -> Value {
    match metric {
        "bounce_rate" | "visit_duration" | "average_revenue" | "time_on_page" | "scroll_depth" => {
            Value::Null
        }
        _ => 0.into(),
    }
}
