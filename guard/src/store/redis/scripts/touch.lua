-- Moves when sessions were last seen, only ever later, and never over a silence that has ended one.
-- ARGV[3] one after another: id (16 bytes), when it was seen (6 bytes)

for at = 1, #ARGV[3], 22 do
  local id, seen = struct.unpack('>c16I6', ARGV[3], at)
  local session = head(read(id, HEAD_BYTES - 1))
  if session and seen > session.seen and not lapse(session, seen) then
    local until_now = deadline(session)
    session.seen = seen
    -- How much longer, not until when: clocks differ. It comes first because a server that is out of memory allows it,
    -- and then the rest of the script.
    local left = redis.call('PTTL', key(id))
    if left >= 0 then
      redis.call('PEXPIRE', key(id), left + deadline(session) - until_now)
    end
    redis.call('SETRANGE', key(id), 1, struct.pack('>I6', seen))
  end
end
return { 'done' }
