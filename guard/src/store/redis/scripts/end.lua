-- Ends a session. ARGV[3] id   [4] reason

local session = live(ARGV[3])
if session then
  finish(ARGV[3], session.user, tonumber(ARGV[4]))
end
return { 'done', session and 1 or 0 }
