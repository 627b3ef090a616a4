//! The browser shell of the Wakeline client, compiled to WebAssembly.
