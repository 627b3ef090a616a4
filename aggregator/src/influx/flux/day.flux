// Which values of breakdowns a site has on a day: fields of `lists`, and ranks of `top`. Before this stand its
// parameters: bucket, generation, site, start, stop.
day = (measurement) =>
    from(bucket: bucket)
        |> range(start: start, stop: stop)
        |> filter(fn: (r) => r._measurement == measurement)
        |> filter(fn: (r) => r.generation == generation and r.site == site)

lists = day(measurement: "lists")
    |> keep(columns: ["_field"])
    |> group()
    |> unique(column: "_field")

ranks = day(measurement: "top")
    |> filter(fn: (r) => r._field == "visits")
    |> keep(columns: ["kind", "rank"])
    |> group()

union(tables: [lists, ranks])
