# python3-redis as people use it: commands, register_script, pipelines with and
# without a transaction, locks, subscriptions, scans.
import sys
import redis

port = int(sys.argv[1])
checks = 0


def check(got, want):
    global checks
    assert got == want, (got, want)
    checks += 1


r = redis.Redis(port=port, decode_responses=True, socket_timeout=10)
check(r.set("py:a", 1), True)
check(r.get("py:a"), "1")
add = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
check(add(keys=["py:n"], args=[5]), 5)
r.script_flush()
check(add(keys=["py:n"], args=[5]), 10)
with r.pipeline(transaction=False) as p:
    p.set("py:b", 1)
    add(keys=["py:n"], args=[1], client=p)
    p.get("py:b")
    check(p.execute(), [True, 11, "1"])
with r.pipeline(transaction=True) as p:
    p.incr("py:m")
    add(keys=["py:n"], args=[1], client=p)
    check(p.execute(), [1, 12])


def bump(p):
    value = int(p.get("py:t") or 0)
    p.multi()
    p.set("py:t", value + 1)


check(r.transaction(bump, "py:t"), [True])
check(r.get("py:t"), "1")
lock = r.lock("py:lock", timeout=5)
check(lock.acquire(), True)
check(lock.extend(3), True)
lock.release()
check(r.exists("py:lock"), 0)
ps = r.pubsub()
ps.subscribe("py:ch")
check(ps.get_message(timeout=5)["type"], "subscribe")
check(r.publish("py:ch", "hi"), 1)
check(ps.get_message(timeout=5)["data"], "hi")
ps.close()
r.mset({"py:k%d" % i: i for i in range(100)})
check(len(list(r.scan_iter("py:k*", count=10))), 100)
check(r.client_id() > 0, True)
r.client_setname("python")
check(r.client_getname(), "python")
check(any(c["name"] == "python" for c in r.client_list()), True)
try:
    r.lpush("py:a", 1)
    raise AssertionError("no error")
except redis.ResponseError as e:
    check(str(e).startswith("WRONGTYPE"), True)
print("ok", checks)
