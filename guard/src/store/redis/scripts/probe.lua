-- Tries whatever the other scripts do, on a key of its own that is gone afterwards.

local probe = TAG .. 'probe'
redis.call('SET', probe, '', 'PX', 1000)
redis.call('SET', probe, 'x', 'KEEPTTL')
redis.call('SETRANGE', probe, 0, redis.call('GETRANGE', probe, 0, -1) .. redis.call('GET', probe))
redis.call('PEXPIRE', probe, redis.call('PTTL', probe) + redis.call('EXISTS', probe))
redis.call('DEL', probe)
redis.call('HSET', probe, 'a', redis.call('HLEN', probe))
redis.call('HDEL', probe, redis.call('HGETALL', probe)[1], redis.call('HRANDFIELD', probe, 1)[1])
if EVENTS_MAX > 0 then
  redis.call('ZADD', probe, redis.call('ZCARD', probe), 'a')
  redis.call('ZREM', probe, redis.call('ZRANGEBYSCORE', probe, '-inf', 0, 'LIMIT', 0, 1)[1])
  local id = redis.call('XADD', probe, '*', 'e', '')
  redis.call('XRANGE', probe, '-', '+', 'COUNT', redis.call('XLEN', probe))
  redis.call('XDEL', probe, id)
end
redis.call('DEL', probe)
return { 'done' }
