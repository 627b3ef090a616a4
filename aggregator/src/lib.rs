//! The centre: log, engine, state, API and dashboard.
