-- The sessions of a user.

-- The ids of the user's sessions, and perhaps of another's whose name gives the same number; and the key of their hash.
local function members(user)
  local bucket, number = place(user)
  local all, ids = redis.call('HGETALL', bucket), {}
  for at = 1, #all, 2 do
    if all[at + 1] == number then
      ids[#ids + 1] = all[at]
    end
  end
  return ids, bucket
end

-- In the order in which they were opened. Strings are not compared: that would depend on the server's locale.
local function before(one, other)
  if one.opened ~= other.opened then
    return one.opened < other.opened
  end
  local a, b, c = struct.unpack('>I6I6I4', one.id)
  local x, y, z = struct.unpack('>I6I6I4', other.id)
  return a < x or (a == x and (b < y or (b == y and c < z)))
end

-- The user's live sessions, those opened first first; and the ids of those that are no more. Nothing is written.
local function of_user(user)
  local found, dead = {}, {}
  local ids, bucket = members(user)
  for _, id in ipairs(ids) do
    local session = parse(read(id, RECORD_BYTES_MAX - 1))
    if not session then
      dead[#dead + 1] = id
    elseif session.user == user and not lapse(session, NOW) then
      session.id = id
      found[#found + 1] = session
    end
  end
  table.sort(found, before)
  return found, dead, bucket
end
