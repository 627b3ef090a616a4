//! Starts the real browsers and servers that tests and demos need.
