//! The SDK as its hosts use it: over a real folder, with clocks and servers of the tests.

#![cfg(test)]

mod fates;
mod host;
mod kill;
mod lifecycle;
mod limits;
mod sending;
mod storage;
mod threads;
mod time;
mod wire;
