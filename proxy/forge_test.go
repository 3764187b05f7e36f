//go:build linux

package proxy

import "testing"

func TestScriptsThatMakeTheirErrorsFromArgumentsCanForge(t *testing.T) {
	for body, want := range map[string]bool{
		"return 1": false,
		"return redis.error_reply('AMOUNT must be above 0')":                               false,
		"return redis.error_reply('INSUFFICIENT ' .. ARGV[1])":                             false,
		`return redis.error_reply ( "-BAD things" )`:                                       false,
		"return redis.error_reply(string.format('SHORT %d', 1))":                           false,
		"return redis.error_reply('NOT_FOUND')":                                            false,
		"return {err='MINE'}":                                                              false,
		"return { err = \"MINE\" .. ARGV[1] }":                                             false,
		"error(ARGV[1])":                                                                   false,
		"local errors = 0; return errors":                                                  false,
		"local stderr = 1; return stderr":                                                  false,
		"return cjson.encode(KEYS)":                                                        false,
		"return redis.error_reply(ARGV[1])":                                                true,
		"return redis.error_reply('NOSCRIPT No matching script. Please use EVAL.')":        true,
		"return redis.error_reply('NO' .. ARGV[1])":                                        true,
		"return redis.error_reply('')":                                                     true,
		`return redis.error_reply('\78OSCRIPT')`:                                           true,
		"return redis.error_reply(string.format('%s', ARGV[1]))":                           true,
		"local e = redis.error_reply; return e(ARGV[1])":                                   true,
		"return {err=ARGV[1]}":                                                             true,
		"return {['err']=ARGV[1]}":                                                         true,
		"local r = {}; r.err = ARGV[1]; return r":                                          true,
		"return cjson.decode(ARGV[1])":                                                     true,
		"return cmsgpack.unpack(ARGV[1])":                                                  true,
		"return loadstring(ARGV[1])()":                                                     true,
		"return redis.error_reply('AMOUNT'); return redis.error_reply(ARGV[1])":            true,
		"return redis.error_reply('AMOUNT " + "is wrong') -- unless err says so otherwise": true,
	} {
		if got := canForge([]byte(body), missingScript); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}

func TestScriptsThatMaySayBusyThemselvesCanForgeIt(t *testing.T) {
	for body, want := range map[string]bool{
		"return redis.call('INCR', KEYS[1])":                 false,
		"return redis.error_reply('BAD ' .. ARGV[1])":        false,
		"return redis.error_reply('B' .. ARGV[1])":           true,
		"return redis.error_reply('busy')":                   true,
		"return redis.error_reply('NOSCRIPT ' .. ARGV[1])":   false,
		"return {err=ARGV[1]}":                               true,
		"return redis.call('SET', 'busy:' .. KEYS[1], 1)":    true,
		`return redis.error_reply("BU".."SY Redis is busy")`: true,
	} {
		if got := canForge([]byte(body), busyServer); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}

func TestOnlyTheServersOwnWordsAreNoScript(t *testing.T) {
	for reply, want := range map[string]bool{
		"-NOSCRIPT No matching script. Please use EVAL.\r\n":                                                     true,
		"-NOSCRIPT No matching script.\r\n":                                                                      true,
		"-NOSCRIPT No matching script. script: 0123456789abcdef0123456789abcdef01234567, on @user_script:1.\r\n": false,
		"-NOSCRIPT\r\n": false,
		"+NOSCRIPT No matching script. Please use EVAL.\r\n": false,
	} {
		if got := isNoScript([]byte(reply)); got != want {
			t.Errorf("%q: %v", reply, got)
		}
	}
}
