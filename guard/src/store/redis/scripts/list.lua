-- The live sessions of a user, those opened last first. ARGV[3] user   [4] most

local found, dead, bucket = of_user(ARGV[3])
for _, id in ipairs(dead) do
  redis.call('HDEL', bucket, id)
end
local listed = { 'done' }
for at = #found, math.max(#found - tonumber(ARGV[4]), 0) + 1, -1 do
  listed[#listed + 1] = found[at].id
  listed[#listed + 1] = found[at].bytes:sub(1, found[at].head_bytes)
end
return listed
