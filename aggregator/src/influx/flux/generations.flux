// The generations that there are points of. Before this stands its parameter: bucket.
from(bucket: bucket)
    |> range(start: 1677-09-22T00:00:00Z, stop: 2262-04-11T00:00:00Z)
    |> keep(columns: ["generation"])
    |> group()
    |> distinct(column: "generation")
