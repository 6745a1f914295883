--@ purpose  The owner of a unique value, with its document.
--@ flags    no-writes
--@ key      1  claims
--@ argument 1  documents  prefix of the documents' keys; the owner completes it
--@ argument 2  value      the normalised value
--@ reply    owner document   the document is null when the owner has none; null alone when no row holds the value

local owner = redis.call('HGET', KEYS[1], ARGV[2])
return owner and { owner, redis.call('GET', ARGV[1] .. owner) }
