-- Whether it is secure, and a count and the time of each request.
local counts, seconds = {}, {}

local function now()
    local t = core.now()
    return t.sec + t.usec / 1e6
end

core.register_action("begin", { "http-req" }, function(txn)
    txn:set_var("txn.plain", txn.f:req_fhdr("x-forwarded-proto") ~= "https")
    txn:set_var("txn.method", txn.f:method())
    txn:set_priv(now())
end)

core.register_action("finish", { "http-res" }, function(txn)
    local name = txn:get_var("txn.method") .. " " .. math.floor(txn.f:status() / 100) .. "xx"
    counts[name] = (counts[name] or 0) + 1
    seconds[name] = (seconds[name] or 0) + now() - (txn:get_priv() or now())
end)
