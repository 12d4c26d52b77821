//! The operators' door: HTTP with health, readiness and metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::carrier::GatewayId;
use crate::net::stream::StreamHandle;
use crate::shard::{ShardHandle, Shared};
use crate::telemetry::metrics::{self, Metrics};

/// What is shown.
#[derive(Clone, Debug)]
pub struct AdminState {
    pub shared: Arc<Shared>,
    pub shards: Vec<ShardHandle>,
    /// TCP and TLS, where a listener has them.
    pub streams: Option<StreamHandle>,
    pub metrics: Metrics,
    /// There are tables in force.
    pub is_ready: watch::Receiver<bool>,
    pub is_draining: watch::Receiver<bool>,
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, state: AdminState) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", get(index))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render_metrics))
        .route("/registrations", get(registrations))
        .with_state(state);
    axum::serve(listener, router).await
}

/// Binds the port; the error says which one.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let message = format!("cannot serve admin_listen {address}: {error}");
        std::io::Error::new(error.kind(), message)
    })
}

async fn index() -> &'static str {
    "holdfast\n\n/healthz  alive\n/readyz   takes new calls\n/metrics  Prometheus\n/registrations  where we are registered\n"
}

/// Alive: every shard turns.
async fn healthz(State(state): State<AdminState>) -> Response {
    match state.shards.iter().position(|shard| !shard.is_turning()) {
        None => "ok\n".into_response(),
        Some(index) => {
            let text = format!("shard {index} does not turn\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

/// Takes new calls.
async fn readyz(State(state): State<AdminState>) -> Response {
    if *state.is_draining.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    } else if !*state.is_ready.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "no tables yet\n").into_response()
    } else {
        "ready\n".into_response()
    }
}

/// One registration that the tables ask for.
#[derive(Debug, Serialize)]
struct RegistrationState {
    carrier: Arc<str>,
    gateway: Arc<str>,
    aor: Arc<str>,
    contact_user: Arc<str>,
    /// The address that accepted us; `None` where we are not registered.
    registered_at: Option<SocketAddr>,
}

/// Every registration, by gateway.
async fn registrations(State(state): State<AdminState>) -> Json<Vec<RegistrationState>> {
    Json(registrations_of(&state))
}

fn registrations_of(state: &AdminState) -> Vec<RegistrationState> {
    let (tables, view) = (state.shared.tables.load_full(), state.shared.view.load_full());
    let mut wanted: Vec<_> = tables.registrations().collect();
    wanted.sort_by_key(|(id, _)| *id);
    let shown = wanted.into_iter().filter_map(|(id, registration)| {
        let gateway = tables.gateway(id)?;
        let at = view.targets_of(id).iter().find(|view| view.is_registered);
        Some(RegistrationState {
            carrier: gateway.carrier.name.clone(),
            gateway: gateway.name.clone(),
            aor: registration.aor.clone(),
            contact_user: registration.contact_user.clone(),
            registered_at: at.map(|view| view.target.address),
        })
    });
    shown.collect()
}

async fn render_metrics(State(state): State<AdminState>) -> Response {
    for (index, shard) in state.shards.iter().enumerate() {
        metrics::shard(index, &shard.counters(), &shard.edge_counters());
    }
    if let Some(streams) = &state.streams {
        metrics::streams(&streams.counts());
    }
    let (tables, view) = (state.shared.tables.load_full(), state.shared.view.load_full());
    for target in view.targets() {
        if let Some(gateway) = tables.gateway(target.target.gateway_id) {
            metrics::target(&gateway.carrier.name, &gateway.name, target);
        }
    }
    for registration in registrations_of(&state) {
        let is_registered = registration.registered_at.is_some();
        metrics::registered(&registration.carrier, &registration.gateway, is_registered);
    }
    let shards = state.shards.len() as f64;
    let mut left: BTreeMap<GatewayId, f64> = BTreeMap::new();
    for (gateway_id, headroom) in state.shards.iter().flat_map(ShardHandle::headrooms) {
        // Shards that have sent nothing there have all their part left.
        *left.entry(gateway_id).or_insert(1.0) -= (1.0 - headroom) / shards;
    }
    for (gateway_id, headroom) in left {
        if let Some(gateway) = tables.gateway(gateway_id) {
            metrics::headroom(&gateway.carrier.name, &gateway.name, headroom);
        }
    }
    let rendered = tokio::task::block_in_place(|| state.metrics.render());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], rendered).into_response()
}
