-- Publish a notice to all servers. If it revokes a sign-in or an account, or bans a user, keep its id too.
-- KEYS: revoked, the channel. ARGV: the notice, or '' if it is published on another primary; the revoked id, or ''; how
-- long ids are kept, in milliseconds; how many are kept at most; until when this id is valid, in milliseconds, 0: as long
-- as ids are kept.

if ARGV[2] ~= '' then
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local kept = now + tonumber(ARGV[3])
  local valid = tonumber(ARGV[5])
  redis.call('ZADD', KEYS[1], valid > 0 and math.min(valid, kept) or kept, ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  -- Two are removed for each one that is added, so that old ids do not accumulate.
  local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 2)
  if #over == 0 and #redis.call('ZRANGE', KEYS[1], ARGV[4], ARGV[4]) > 0 then
    over = redis.call('ZRANGE', KEYS[1], 0, 0)
  end
  if #over > 0 then
    redis.call('ZREM', KEYS[1], unpack(over))
  end
end
if ARGV[1] ~= '' then
  redis.call('SPUBLISH', KEYS[2], ARGV[1])
end
return 1
