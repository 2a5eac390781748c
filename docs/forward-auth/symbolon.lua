-- Asks symbolon forward-auth whether a request gets through: http-request lua.symbolon_check
-- It leaves the answer in variables: txn.symbolon_status (no number when nobody answered), _subject, _session, _client,
-- _actor, _roles, _scopes, _assurance, _token, _cookie, _login, _reason, _challenge. Those that are empty are not set.

local CHECK = "http://127.0.0.1:8090/check"
local TIMEOUT_MS = 3000
local TOLD = {
    "subject", "session", "client", "actor", "roles", "scopes", "assurance", "token", "cookie", "login", "reason",
}
-- They are about this connection or the body, which is not sent; or are written below.
local NOT_SENT = {
    ["connection"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true, ["keep-alive"] = true,
    ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true, ["transfer-encoding"] = true, ["upgrade"] = true,
    ["x-original-method"] = true, ["x-original-uri"] = true, ["x-original-host"] = true,
}

-- HAProxy's own lists begin at 0.
local function list(values)
    local copy, at = {}, 0
    while values and values[at] do
        copy[#copy + 1] = values[at]
        at = at + 1
    end
    return copy
end

local function first(values)
    return values and (values[0] or values[1])
end

core.register_action("symbolon_check", { "http-req" }, function(txn)
    local headers = {}
    local sent = txn.http:req_get_headers()
    for name, values in pairs(sent) do
        if not NOT_SENT[name] then
            headers[name] = list(values)
        end
    end
    headers["x-original-method"] = { txn.f:method() }
    headers["x-original-uri"] = { txn.f:pathq() }
    headers["x-original-host"] = list(sent["host"])

    local client = core.httpclient()
    local done, answer = pcall(client.get, client, { url = CHECK, headers = headers, timeout = TIMEOUT_MS })
    if not done or not answer or not answer.status then
        return
    end
    txn:set_var("txn.symbolon_status", answer.status)
    local told = answer.headers or {}
    for _, name in ipairs(TOLD) do
        local value = first(told["x-symbolon-" .. name])
        if value and value ~= "" then
            txn:set_var("txn.symbolon_" .. name, value)
        end
    end
    local challenge = first(told["www-authenticate"])
    if challenge then
        txn:set_var("txn.symbolon_challenge", challenge)
    end
end)
