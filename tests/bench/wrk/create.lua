-- Creates certificates, all with the body that the file BENCH_BODY holds.
local file = assert(io.open(os.getenv("BENCH_BODY")))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
file:close()
