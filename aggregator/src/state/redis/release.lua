-- Gives the lease back. KEYS: the lease. ARGV: owner, place.
if redis.call('GET', KEYS[1]) == ARGV[1] .. ' ' .. ARGV[2] then redis.call('DEL', KEYS[1]) end
return 0
