//! A segment log: CRC-framed records, group-committed.
