-- Opens a session: as new, in place of an earlier one, or in place of one of another system.
--
-- KEYS[2]   a key of another system, which goes in the same step, if there is one
-- ARGV[3]   id              [4] head, user and label   [5] changes of the data
-- ARGV[6]   most bytes of data   [7] when the request began
-- ARGV[8]   most sessions of the user, 0 for any number   [9] 1: more are refused; 0: the oldest end
-- ARGV[10]  the id of the earlier session, or nothing   [11] the SHA-1 of what rests at KEYS[2]

local id, opening, old_id = ARGV[3], parse(ARGV[4]), ARGV[10]
local user, at_most = opening.user, tonumber(ARGV[8])

if EVENTS_MAX > 0 and WAITING >= EVENTS_MAX then
  return { 'full' }
end
local old, reason
if old_id ~= '' then
  old, reason = live(old_id)
  if not old then
    return absent(reason)
  end
end
if redis.call('EXISTS', key(id)) == 1 then
  return { 'taken' }
end
if KEYS[2] then
  local foreign = redis.call('GET', KEYS[2])
  if not foreign then
    return { 'unknown' }
  elseif redis.sha1hex(foreign) ~= ARGV[11] then
    return { 'changed' }
  end
end
-- Who was spared by an end of all others may renew.
if user and not (old and old.user == user) then
  local ended_at = redis.pcall('GET', TAG .. 'e' .. user)
  ended_at = type(ended_at) == 'string' and tonumber(ended_at)
  if ended_at and tonumber(ARGV[7]) < ended_at then
    if KEYS[2] then
      redis.call('DEL', KEYS[2])
    end
    return { 'stale' }
  end
end
-- What is another user's stays behind.
local inherits = old and (not old.user or old.user == user)
local data, too_large = merged(inherits and old.bytes:sub(old.head_bytes + 1) or '', ARGV[5], tonumber(ARGV[6]))
if not data and too_large then
  return { 'large' }
elseif not data then
  finish(old_id, old.user, UNREADABLE)
  return { 'gone', UNREADABLE }
end

local surplus, dead, bucket = {}, {}, nil
if user and at_most > 0 then
  local found
  found, dead, bucket = of_user(user)
  for at, session in ipairs(found) do
    if session.id == old_id then
      table.remove(found, at)
      break
    end
  end
  for at = 1, #found - (at_most - 1) do
    surplus[at] = found[at].id
  end
  if #surplus > 0 and ARGV[9] == '1' then
    return { 'many' }
  end
elseif user then
  bucket = place(user)
  redis.call('HLEN', bucket)
end
if EVENTS_MAX > 0 then
  redis.call('ZCARD', QUEUE)
end

local before = inherits and old.version or 0
local version = struct.pack('>I6', before + (#ARGV[5] > 0 and 1 or 0))
local record = ARGV[4]:sub(1, 24) .. version .. ARGV[4]:sub(31)
local lasts = math.max(deadline(opening) - NOW, 0) + KEPT_MS
-- The first write is the one that a server without memory refuses.
redis.call('SET', key(id), record .. data, 'PX', lasts)
for _, other in ipairs(surplus) do
  finish(other, user, TOO_MANY)
end
if inherits then
  bury(old_id, old.user, RENEWED)
elseif old then
  finish(old_id, old.user, LOGOUT)
end
if KEYS[2] then
  redis.call('DEL', KEYS[2])
end
if user then
  local _, number = place(user)
  redis.call('HSET', bucket, id, number)
  local needed = math.max(opening.ends - NOW, 0) + KEPT_MS
  if redis.call('PTTL', bucket) < needed then
    redis.call('PEXPIRE', bucket, needed)
  end
  -- The hash cleans itself: what ran out unnoticed leaves faster than it comes.
  for _, other in ipairs(redis.call('HRANDFIELD', bucket, 3)) do
    if redis.call('EXISTS', key(other)) == 0 then
      dead[#dead + 1] = other
    end
  end
  for _, other in ipairs(dead) do
    redis.call('HDEL', bucket, other)
  end
end
if EVENTS_MAX > 0 then
  redis.call('ZADD', QUEUE, deadline(opening), id)
end
tell(id, user, inherits and 'r' .. old_id or 'c')
return { 'live', before }
