-- Changes a partition, unless another writer has.
--
-- KEYS: hashes (the first is the partition's progress), then indexes of blocks.
-- ARGV: expected offset, epoch (20 digits), owner, log, next offset, number of hashes;
--   of each hash: number of fields and values to set and of fields to remove, and these;
--   of each index: number of blocks, and of each its place in KEYS and its member.
-- Nothing is written before all checks are passed, and a script is not interrupted once it has written.
local at = redis.call('HMGET', KEYS[1], 'offset', 'epoch', 'owner', 'log')
if at[4] and at[4] ~= ARGV[4] then return {'log', at[4]} end
if at[2] and (at[2] > ARGV[2] or (at[2] == ARGV[2] and at[3] and at[3] ~= ARGV[3])) then
    return {'epoch', at[2]}
end
if (at[1] or '0') ~= ARGV[1] then return {'offset', at[1] or '0'} end

local hashes = tonumber(ARGV[6])
local next = 7
local function take()
    local value = tonumber(ARGV[next])
    next = next + 1
    return value
end
-- Lua can't pass more than some 8,000 arguments at once.
local function each(command, key, count)
    while count > 0 do
        local some = math.min(count, 4000)
        redis.call(command, key, unpack(ARGV, next, next + some - 1))
        next = next + some
        count = count - some
    end
end

for k = 1, hashes do
    local set, removed = take(), take()
    each('HSET', KEYS[k], set)
    each('HDEL', KEYS[k], removed)
end
for k = hashes + 1, #KEYS do
    for _ = 1, take() do
        local block = KEYS[take()]
        if redis.call('EXISTS', block) == 1 then
            redis.call('ZADD', KEYS[k], 0, ARGV[next])
        else
            redis.call('ZREM', KEYS[k], ARGV[next])
        end
        next = next + 1
    end
end
redis.call('HSET', KEYS[1], 'offset', ARGV[5], 'epoch', ARGV[2], 'owner', ARGV[3], 'log', ARGV[4])
return {'ok', ''}
