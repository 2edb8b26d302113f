//! Errors as problem+json (RFC 9457), with a stable type, the field concerned and what to do.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use recoup_workflows::Refusal;
use serde::Serialize;

/// An error on its way out. What a caller may know and what the log keeps are different fields.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

impl Problem {
    fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:recoup:problem:{kind}"),
            title: status.canonical_reason().unwrap_or("error"),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            problems: Vec::new(),
        }
    }

    pub(crate) fn invalid(kind: &'static str, field: &str, detail: impl Into<String>) -> Self {
        Self::from(Refusal::invalid(kind, field, detail))
    }

    pub(crate) fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
    }

    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    }

    pub(crate) fn timed_out(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", detail)
    }

    pub(crate) fn not_acceptable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "this path has no such method; see /openapi.json",
        )
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Invalid { kind, field, detail } => {
                Self { field: Some(field), ..Self::new(StatusCode::BAD_REQUEST, kind, detail) }
            }
            Refusal::Problems { kind, summary, problems } => {
                Self { problems, ..Self::new(StatusCode::BAD_REQUEST, kind, summary) }
            }
            Refusal::Unauthenticated(_) => Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail),
            Refusal::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "forbidden", detail),
            Refusal::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not-found", detail),
            Refusal::Conflict { kind, detail } => Self::new(StatusCode::CONFLICT, kind, detail),
            Refusal::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail),
            Refusal::Store(recoup_store::StoreError::Damaged { what, detail }) => {
                tracing::error!(what, detail, "stored bytes are damaged");
                let detail =
                    format!("{what} is damaged ({detail}); trying again does not help, restore it from a backup");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged", detail)
            }
            Refusal::Store(error) => {
                tracing::error!(error = recoup_store::causes(&error), "the store failed");
                let detail = "the store did not answer; nothing of this request was acknowledged, try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", detail)
            }
            Refusal::Computation { .. } => {
                tracing::error!(%detail, "a figure could not be computed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "not-computed", detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, axum::http::HeaderValue::from_static("Bearer"));
        }
        response
    }
}
