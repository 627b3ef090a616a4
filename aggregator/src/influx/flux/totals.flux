// The rows of a site's windows. Before this stand its parameters: bucket, generation, measurement, site, start, stop.
from(bucket: bucket)
    |> range(start: start, stop: stop)
    |> filter(fn: (r) => r._measurement == measurement and r._field == "row")
    |> filter(fn: (r) => r.generation == generation and r.site == site)
    |> keep(columns: ["_time", "_value"])
    |> group()
