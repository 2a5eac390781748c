-- The data of a session: one entry after another, each the length of the key (1 byte), of the value (4 bytes, little
-- endian), the key, the value. In a change, a value of REMOVED bytes takes the key away.
local REMOVED = 4294967295

local function entries(bytes, each)
  local at = 1
  while at <= #bytes do
    local key_bytes, value_bytes = struct.unpack('<BI4', bytes, at)
    local removed = value_bytes == REMOVED
    local next_at = at + 5 + key_bytes + (removed and 0 or value_bytes)
    if next_at > #bytes + 1 then
      error('cut off')
    end
    each(bytes:sub(at + 5, at + 4 + key_bytes), removed and '' or bytes:sub(at, next_at - 1))
    at = next_at
  end
end

-- The data with the changes in it; or nil and whether it is too large. The order of the entries is nobody's concern here.
local function merged(data, delta, bytes_max)
  local changed, parts = {}, {}
  entries(delta, function(name, entry)
    changed[name] = entry
  end)
  local readable = pcall(entries, data, function(name, entry)
    if not changed[name] then
      parts[#parts + 1] = entry
    end
  end)
  if not readable then
    return nil, false
  end
  for _, entry in pairs(changed) do
    parts[#parts + 1] = entry
  end
  local bytes = table.concat(parts)
  -- What a lower limit has made too large can still be made smaller.
  if #bytes > bytes_max and #bytes > #data then
    return nil, true
  end
  return bytes
end
