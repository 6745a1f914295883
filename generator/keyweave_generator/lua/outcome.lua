--@ purpose  What became of a plan whose answer was lost. One that was not applied never will be from here on.
--@ flags    allow-oom
--@ key      1  ledger    answers of the latest plans of one client: a hash, slot -> sequence number and answer
--@ argument 1  slot      the client's slot in the ledger
--@ argument 2  sequence  number of the plan
--@ reply    REPLAYED answer   the plan was applied, and this was its answer
--@ reply    NEVER             the plan was not applied, and never will be
--@ reply    STALE             a later plan has used the slot: what became of this one is no longer known
--@ reply    CORRUPT key       the ledger holds something that Keyweave did not write
--@ include  ledger

local answered = answer_of(redis.call('HGET', KEYS[1], ARGV[1]), ARGV[2])
if answered then
  return answered
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' NEVER')
redis.call('PEXPIRE', KEYS[1], LEDGER_LIFE)
return { 'NEVER' }
