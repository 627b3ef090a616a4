-- Makes a writer the owner of a partition, unless a newer one is.
--
-- KEYS: the partition's progress, of the generation in use or of another. ARGV: epoch (20 digits), owner, log.
local at = redis.call('HMGET', KEYS[1], 'log', 'epoch', 'owner')
if at[1] and at[1] ~= ARGV[3] then return {'log', at[1]} end
if at[2] and (at[2] > ARGV[1] or (at[2] == ARGV[1] and at[3] and at[3] ~= ARGV[2])) then
    return {'epoch', at[2]}
end
-- A server that is full can still be read.
if at[2] == ARGV[1] and at[3] == ARGV[2] then return {'ok', ''} end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'owner', ARGV[2], 'log', ARGV[3])
return {'ok', ''}
