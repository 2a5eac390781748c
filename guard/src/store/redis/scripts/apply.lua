-- Changes the data of a session.
-- ARGV[3] id   [4] changes   [5] most bytes   [6] the version that is expected, or nothing

local id, delta, expected = ARGV[3], ARGV[4], tonumber(ARGV[6])

local session, reason = live(id)
if not session then
  return absent(reason)
end
if expected and expected ~= session.version then
  return { 'conflict', session.version }
end
if #delta == 0 then
  return { 'done', session.version }
end
local bytes = session.bytes
local data, too_large = merged(bytes:sub(session.head_bytes + 1), delta, tonumber(ARGV[5]))
if not data and too_large then
  return { 'large' }
elseif not data then
  finish(id, session.user, UNREADABLE)
  return { 'gone', UNREADABLE }
end

local until_now = deadline(session)
session.seen = math.max(session.seen, NOW)
local seen, version = struct.pack('>I6', session.seen), struct.pack('>I6', session.version + 1)
local left = redis.call('PTTL', key(id))
local whole = bytes:sub(1, 1) .. seen .. bytes:sub(8, 24) .. version .. bytes:sub(31, session.head_bytes) .. data
redis.call('SET', key(id), whole, 'KEEPTTL')
if left >= 0 then
  redis.call('PEXPIRE', key(id), left + deadline(session) - until_now)
end
return { 'done', session.version + 1 }
