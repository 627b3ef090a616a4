//! The log through its public interface, on real files.
#[cfg(test)]
mod damage;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod log;
#[cfg(test)]
mod support;
