-- Removes marks that are still the same, unless a newer owner has begun.
--
-- KEYS: the partition's progress, its marks. ARGV: epoch (20 digits), then of each mark its field and offset.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and epoch > ARGV[1] then return end
for i = 2, #ARGV, 2 do
    if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[i + 1] then
        redis.call('HDEL', KEYS[2], ARGV[i])
    end
end
