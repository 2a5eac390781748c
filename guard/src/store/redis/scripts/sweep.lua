-- With events: ends what has run out, in the order of the queue. ARGV[3] most

local due = redis.call('ZRANGEBYSCORE', QUEUE, '-inf', NOW, 'LIMIT', 0, tonumber(ARGV[3]))
for _, id in ipairs(due) do
  local session, reason = live(id)
  if session then
    -- It was seen meanwhile.
    redis.call('ZADD', QUEUE, 'XX', deadline(session), id)
  else
    if not reason then
      -- Nobody swept in time, and it has vanished by itself.
      tell(id, nil, 'e' .. string.char(EXPIRED))
    end
    redis.call('ZREM', QUEUE, id)
  end
end
return { 'done', #due == tonumber(ARGV[3]) and 1 or 0 }
