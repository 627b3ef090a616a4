// Which generation readers read, and whose log it was made from: one point, at a time that no retention ends. Before this
// stands its parameter: bucket.
from(bucket: bucket)
    |> range(start: 2200-01-01T00:00:00Z, stop: 2200-01-01T00:00:01Z)
    |> filter(fn: (r) => r._measurement == "current")
    |> keep(columns: ["_field", "_value"])
    |> group()
