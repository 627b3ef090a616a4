//! The edge: takes hits, makes them durable, forwards them.
