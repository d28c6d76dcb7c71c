"""The atomic steps. Each touches keys of one team only, or one key of all teams, so that a cluster can run them.

A step whose answer was lost with the connection is asked for again: what the caller has already got it gets again.
"""

from __future__ import annotations

# KEYS: index, pending. ARGV: sandbox, limit, seconds after which a start counts as dead. 1: reserved, 0: no place left.
RESERVE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[3]))
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 1 end
if redis.call('SCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[2], now, ARGV[1])
return 1
"""

# KEYS: pending. ARGV: sandbox, seconds after which a start counts as dead. 1: the start is in flight.
PENDING = """
local begun = redis.call('ZSCORE', KEYS[1], ARGV[1])
return begun and tonumber(begun) > tonumber(redis.call('TIME')[1]) - tonumber(ARGV[2]) and 1 or 0
"""

# KEYS: pending. ARGV: sandbox. One that is not there stays away.
RENEW = """
return redis.call('ZADD', KEYS[1], 'XX', redis.call('TIME')[1], ARGV[1])
"""

# KEYS: index, pending, record. ARGV: sandbox, JSON. The index comes first: it may name too much, never too little.
ADD = """
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('SET', KEYS[3], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""

# KEYS: record. ARGV: JSON as it was read, JSON to be. 1: done, 0: somebody was faster.
SWAP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

# KEYS: record, transition. ARGV: JSON as it was read, JSON to be, transition, seconds.
# The transition in progress, 'owned', or 'again' where the record is not as it was.
BEGIN = """
local current = redis.call('GET', KEYS[2])
if current == ARGV[3] then return 'owned' end
if current then return current end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'again' end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
return 'owned'
"""

# KEYS: record, index, transition, outcome. ARGV: transition, JSON as it was read, JSON to be or '' to drop, sandbox, outcome, seconds.
# 1: done, 0: the record is not as it was, -1: the transition is not ours any more.
COMPLETE = """
if redis.call('EXISTS', KEYS[4]) == 1 then return 1 end
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return -1 end
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('DEL', KEYS[1])
  redis.call('SREM', KEYS[2], ARGV[4])
else
  redis.call('SET', KEYS[1], ARGV[3])
end
redis.call('DEL', KEYS[3])
redis.call('SET', KEYS[4], ARGV[5], 'EX', ARGV[6])
return 1
"""

# KEYS: record, index, transition. ARGV: JSON as it was read, sandbox. 1: gone, 0: changed or being ended.
FORGET = """
if redis.call('EXISTS', KEYS[3]) == 1 or redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[2])
return 1
"""

# KEYS: expiration. ARGV: now, limit, when to offer them again, milliseconds. Whoever asks first gets them.
TAKE_DUE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, member in ipairs(due) do redis.call('ZADD', KEYS[1], 'XX', ARGV[3], member) end
return due
"""

# KEYS: lock. ARGV: token, milliseconds. 1: ours, 0: somebody else's.
LOCK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
"""

# KEYS: lock. ARGV: token. Only by who holds it.
UNLOCK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

# KEYS: lock. ARGV: token, milliseconds.
HOLD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
