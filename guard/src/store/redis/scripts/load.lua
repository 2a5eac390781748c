-- What becomes of a session that looked as if it had run out, or that could not be read.
-- ARGV[3] id   [4] the SHA-1 of what could not be read, or nothing

local id = ARGV[3]
local session, reason = live(id)
if not session then
  return absent(reason)
end
if redis.sha1hex(session.bytes) == ARGV[4] then
  finish(id, session.user, UNREADABLE)
  return { 'gone', UNREADABLE }
end
return { 'live' }
