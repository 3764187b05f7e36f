local db = {get = redis.call}
return db.get('GET', KEYS[1])
