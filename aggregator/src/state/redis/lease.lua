-- Takes or renews the lease of the state.
--
-- KEYS: the lease, whose value is `OWNER PLACE`. ARGV: owner, place, how long in ms, 'take' or 'renew'.
-- Returns 0, or for how many ms more another one has it. One at the same place has ended: its folder could be locked.
local held = redis.call('GET', KEYS[1])
if held then
    local owner, place = string.match(held, '^(%S+) (%S+)$')
    local mine = owner == ARGV[1] or (ARGV[4] == 'take' and place == ARGV[2])
    if not mine then return math.max(redis.call('PTTL', KEYS[1]), 1) end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 0
