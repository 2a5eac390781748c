-- Ends all sessions of a user but for one, and remembers when.
-- ARGV[3] user   [4] the id that is spared, or nothing   [5] reason

local user, but, reason = ARGV[3], ARGV[4], tonumber(ARGV[5])

local ids, bucket = members(user)
local mark = TAG .. 'e' .. user
local ended_at = redis.pcall('GET', mark)
ended_at = math.max(NOW, type(ended_at) == 'string' and tonumber(ended_at) or NOW)
-- Deleting comes first: see `bury`.
redis.call('DEL', mark)
redis.call('SET', mark, string.format('%.0f', ended_at), 'PX', TOMBSTONE_MS)
local ended = 0
for _, id in ipairs(ids) do
  if id ~= but then
    local session, gone = live(id)
    if session and session.user == user then
      finish(id, user, reason)
      ended = ended + 1
    elseif not session and not gone then
      redis.call('HDEL', bucket, id)
    end
  end
end
return { 'done', ended }
