package differential

import (
	"crypto/sha1" // Redis names scripts by their SHA-1
	"encoding/hex"
	"fmt"
	"strings"
)

// scripts are bodies that clients call; none depends on the order of a hash table, or on time.
var scripts = []string{
	"return 1",
	"return KEYS[1]",
	"return {KEYS[1], ARGV[1], #KEYS, #ARGV}",
	"return redis.call('set', KEYS[1], ARGV[1])",
	"return redis.call('get', KEYS[1])",
	"return redis.call('incr', KEYS[1])",
	"redis.call('lpush', KEYS[1], ARGV[1]) return redis.call('llen', KEYS[1])",
	"redis.call('set', KEYS[1], 'before') return redis.call('lpush', KEYS[1], 'x')",
	"return redis.pcall('lpush', KEYS[1], ARGV[1])",
	"return redis.pcall('incr', KEYS[1])",
	"return redis.error_reply('MY own error')",
	"return redis.error_reply('NOSCRIPT No matching script. Please use EVAL.')",
	"return {err='READONLY You can\\'t write against a read only replica.'}",
	"return {err='MOVED 1 127.0.0.1:1'}",
	"return redis.status_reply('FINE')",
	"return {ok='fine'}",
	"error('boom')",
	"error({err='TABLE boom'})",
	"return nonsense.field",
	"return redis.call('nosuchcommand', KEYS[1])",
	"return redis.call('get')",
	"return redis.call('eval', 'return 1', 0)",
	"return redis.call('subscribe', 'ch1')",
	"return (",
	"not lua at all",
	"",
	"return nil",
	"return true",
	"return false",
	"return 3.99",
	"return {1, 2, nil, 4}",
	"return {}",
	"return {{1, {2, {3}}}, 'x', {ok='nested'}, {err='NESTED error'}}",
	"return {double=3.5}",
	"return {map={a=1}}",
	"return {set={a=true}}",
	"return {big_number='12345678901234567890123'}",
	"return {verbatim_string={format='txt', string='some text'}}",
	"redis.setresp(3) return redis.call('hgetall', KEYS[1])",
	"redis.setresp(3) return redis.call('zrange', KEYS[1], 0, -1, 'withscores')",
	"redis.setresp(3) return redis.call('zscore', KEYS[1], 'a')",
	"redis.setresp(3) return redis.call('get', 'nothing')",
	"redis.setresp(4)",
	"return redis.call('select', 1)",
	"redis.call('select', 1) redis.call('set', KEYS[1], 'in db 1') return redis.call('get', KEYS[1])",
	"return redis.call('publish', 'ch1', ARGV[1])",
	"return redis.sha1hex(ARGV[1] or '')",
	"return cjson.encode({a=1, b=nil})",
	"return cjson.decode('[1,2,{\"a\":null}]')",
	"return cmsgpack.pack({1,2,3})",
	"return bit.bor(1, 6)",
	"return struct.pack('>I2', 513)",
	"return string.rep('0123456789', 3000)",
	"local t = {} for i = 1, 500 do t[i] = i end return t",
	"local t = {} for i = 1, 300 do t[i] = tostring(i) .. ARGV[1] end return t",
	"redis.log(redis.LOG_DEBUG, 'quiet') return 'logged'",
	"return redis.acl_check_cmd('set', KEYS[1], 'v')",
	"globalvariable = 1",
	"return math.random(100)",
	"return tostring(redis.REPL_ALL)",
	"redis.set_repl(redis.REPL_ALL) return 1",
	"return redis.replicate_commands()",
	"return redis.breakpoint()",
	"return {redis.call('ping'), redis.call('echo', 'e'), redis.call('exists', KEYS[1])}",
	"return redis.call('flushdb')",
	"return tonumber(ARGV[1]) + 1",
	"#!lua\nreturn redis.call('set', KEYS[1], ARGV[1])",
	"#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])",
	"#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], ARGV[1])",
	"#!lua flags=no-such-flag\nreturn 1",
	"#!lua name=x\nreturn 1",
	"#!python\nreturn 1",
	"#!lua flags=allow-oom,no-cluster\nreturn 7",
	"-- padded: " + strings.Repeat("a comment that makes it long ", 60) + "\nreturn redis.call('append', KEYS[1], ARGV[1])",
	"-- padded: " + strings.Repeat("another comment of some length ", 60) + "\nreturn {KEYS[1], ARGV[1]}",
	"-- padded: " + strings.Repeat("a long one that does not compile ", 60) + "\nreturn (",
}

func (g *generator) scriptBody() string {
	if g.r.IntN(8) == 0 {
		// One that was never seen before, as from clients that paste values into bodies.
		return fmt.Sprintf("return '%d'", g.r.IntN(100_000))
	}
	return scripts[g.r.IntN(len(scripts))]
}

// sha is mostly that of a known body, in either case, sometimes nothing that is one.
func (g *generator) sha() string {
	switch g.r.IntN(20) {
	case 0:
		return strings.Repeat("f", 40)
	case 1:
		return g.pick("", "name", "name@version", "zz", strings.Repeat("g", 40), strings.Repeat("a", 39), strings.Repeat("a", 41))
	}
	sum := sha1.Sum([]byte(g.scriptBody()))
	hexed := hex.EncodeToString(sum[:])
	if g.r.IntN(10) == 0 {
		return strings.ToUpper(hexed)
	}
	return hexed
}

// libraries are FUNCTION LOAD's, which FCALL's templates know the functions of.
var libraries = []string{
	"#!lua name=lib0\nredis.register_function('set0', function(k, a) return redis.call('set', k[1], a[1]) end)\n" +
		"redis.register_function{function_name='get0', callback=function(k, a) return redis.call('get', k[1]) end, flags={'no-writes'}}",
	"#!lua name=lib1\nredis.register_function('set1', function(k, a) return redis.call('lpush', k[1], a[1]) end)\n" +
		"redis.register_function{function_name='get1', callback=function(k, a) return {k, a} end, flags={'no-writes'}, description='echoes'}\n" +
		"redis.register_function('fail1', function(k, a) error('boom') end)",
	"#!lua name=lib2\nredis.register_function{function_name='get2', callback=function(k, a) redis.setresp(3) return {double=1.5} end, flags={'no-writes', 'allow-stale'}}",
	"#!lua name=lib2\nredis.register_function('get2', function(k, a) return redis.call('set', k[1], 'x') end)",
	"#!lua name=lib3\nreturn 1",
	"#!lua name=lib4\nthis is not lua",
	"#!lua\nredis.register_function('noname', function() end)",
	"redis.register_function('noshebang', function() end)",
	"#!lua name=bad-name\nredis.register_function('x', function() end)",
	"#!lua name=lib5\nredis.register_function('set0', function() return 'taken' end)",
	"",
}

func (g *generator) library() string { return libraries[g.r.IntN(len(libraries))] }
