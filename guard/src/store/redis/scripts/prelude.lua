-- What every script begins with. A script is one step: nobody sees half of it.
--
-- KEYS[1]  the hash tag in braces with which every key of the store begins, so that all of them rest in one place
-- ARGV[1]  how many events may wait; 0 if none are kept
-- ARGV[2]  the time of whoever asks, in milliseconds
--
--   {tag}s<id>      a session: head, user, label, data; or the two bytes of a tombstone
--   {tag}u<bucket>  a hash of the ids of sessions that have a user, with a number drawn from the user's name
--   {tag}e<user>    when all sessions of this user were ended
--   {tag}q          with events: a sorted set of all sessions by when they may have run out
--   {tag}o          with events: the stream of those that nobody has settled
--
-- Before the first write a script reads whatever else it is going to write, so that a key of a wrong type or a missing
-- right fails before anything has changed.

local TAG, EVENTS_MAX, NOW = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local QUEUE, OUTBOX = TAG .. 'q', TAG .. 'o'
local KEPT_MS = TOMBSTONE_MS + (EVENTS_MAX > 0 and UNSWEPT_MS or 0)
local WAITING = EVENTS_MAX > 0 and redis.call('XLEN', OUTBOX) or 0

-- Flags, seen, end, idle limit, opened, version, and how long user and label are.
local HEAD, HEAD_BYTES = '>BI6I6I5I6I6I2B', 33
local LIVE, HAS_USER, NO_FLAGS = 1, 4, 0xf1

local function key(id)
  return TAG .. 's' .. id
end

-- The hash in which the sessions of a user are found, and the user's number there. Users share the hashes: a key for
-- each user would cost more than a session, and a small hash is one piece of memory.
local function place(user)
  local digest = redis.sha1hex(user)
  return TAG .. 'u' .. digest:sub(1, 3), string.format('%d', tonumber(digest:sub(4, 9), 16) - 8388608)
end

-- The fixed part of a live session; nil for anything else.
local function head(bytes)
  if type(bytes) ~= 'string' or #bytes < HEAD_BYTES or bit.band(bytes:byte(1), NO_FLAGS) ~= LIVE then
    return nil
  end
  local session = {}
  session.flags, session.seen, session.ends, session.idle, session.opened, session.version,
    session.user_bytes, session.label_bytes = struct.unpack(HEAD, bytes)
  return session
end

local function parse(bytes)
  local session = head(bytes)
  if not session or #bytes > WHOLE_BYTES_MAX then
    return nil
  end
  local user_end = HEAD_BYTES + session.user_bytes
  session.head_bytes = user_end + session.label_bytes
  if #bytes < session.head_bytes then
    return nil
  end
  if bit.band(session.flags, HAS_USER) ~= 0 then
    session.user = bytes:sub(HEAD_BYTES + 1, user_end)
  end
  session.bytes = bytes
  return session
end

-- When it runs out unless it is seen.
local function deadline(session)
  return math.min(session.seen + session.idle, session.ends)
end

-- Why it has run out at this time, if it has.
local function lapse(session, at)
  if at >= session.ends then
    return EXPIRED
  end
  return math.max(at - session.seen, 0) >= session.idle and IDLE or nil
end

local function tell(id, user, what)
  if EVENTS_MAX > 0 then
    local at = struct.pack('>I6', math.max(NOW, 0))
    redis.call('XADD', OUTBOX, '*', 'e', id .. at .. what .. (user and 'u' .. user or ''))
  end
end

-- Puts a tombstone where the session was. Deleting comes first because a server that is out of memory still allows it,
-- and then the rest of the script.
local function bury(id, user, reason)
  redis.call('DEL', key(id))
  redis.call('SET', key(id), '\0' .. string.char(reason), 'PX', TOMBSTONE_MS)
  if EVENTS_MAX > 0 then
    redis.pcall('ZREM', QUEUE, id)
  end
  if user then
    -- What cannot be removed is dead all the same.
    redis.pcall('HDEL', (place(user)), id)
  end
end

local function finish(id, user, reason)
  bury(id, user, reason)
  tell(id, user, 'e' .. string.char(reason))
end

-- The beginning of what rests under this id, up to this byte; -1 is all of it. Only a wrong type is as good as garbage:
-- any other error is the server's to tell.
local function read(id, last)
  local bytes = redis.pcall('GETRANGE', key(id), 0, last)
  if type(bytes) == 'table' and not string.find(bytes.err, 'WRONGTYPE', 1, true) then
    return redis.call('GETRANGE', key(id), 0, last)
  end
  return bytes
end

-- The live session of this id; or nil and why it ended; or nil and nil where nobody has heard of it. What has run out or
-- cannot be read ends here.
local function live(id)
  local bytes = read(id, -1)
  if bytes == '' then
    return nil
  elseif type(bytes) == 'string' and #bytes == 2 and bytes:byte(1) == 0 then
    return nil, bytes:byte(2)
  end
  local session, reason = parse(bytes), UNREADABLE
  if session then
    reason = lapse(session, NOW)
  end
  if not reason then
    return session
  end
  finish(id, session and session.user, reason)
  return nil, reason
end

local function absent(reason)
  return reason and { 'gone', reason } or { 'unknown' }
end
