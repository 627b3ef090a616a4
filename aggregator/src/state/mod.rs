//! What the aggregator knows of visitors and windows.
