package differential

import (
	"errors"
	"os"
	"strings"
	"testing"
)

type regression struct{ name, sequence string }

// TestFoundDifferencesStayMended runs the sequences that once showed a difference, in every configuration; or the one in the
// file that -sequence names. The notation is that of Sequence.String.
func TestFoundDifferencesStayMended(t *testing.T) {
	list := regressions
	if *sequenceFlag != "" {
		text, err := os.ReadFile(*sequenceFlag)
		if err != nil {
			t.Fatal(err)
		}
		list = []regression{{*sequenceFlag, string(text)}}
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			b := newBed(t, v)
			for _, r := range list {
				if b.governed && strings.Contains(r.sequence, "ACL SETUSER") {
					continue // in force, users who may load no scripts have theirs loaded: docs/policy.md
				}
				t.Run(r.name, func(t *testing.T) { b.runText(t, r.sequence) })
			}
		})
	}
}

// runText runs a sequence in which every connection that is used has said AUTH first, where the server asks for it.
func (b *bed) runText(t *testing.T, text string) {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if b.password != "" {
		s = b.authenticated(s)
	}
	err = b.Run(s)
	var d *Difference
	if errors.As(err, &d) && d.Step < len(s) {
		t.Fatalf("%v\n  in: %s", err, strings.TrimSpace(Sequence{s[d.Step]}.String()))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bed) authenticated(s Sequence) Sequence {
	var out Sequence
	open := map[int]bool{}
	for _, step := range s {
		if !open[step.Conn] && !step.Close {
			out = append(out, Step{Conn: step.Conn, Cmds: []Command{words("AUTH", b.password)}})
			open[step.Conn] = true
		}
		if step.Close {
			open[step.Conn] = false
		}
		out = append(out, step)
	}
	return out
}

var regressions = []regression{
	{"a subscriber's script call is refused by the server", `
		c: SSUBSCRIBE ch2
		c: EVAL "return nil" -1
		c: SCRIPT KILL
		c: SELECT 3
		c: MULTI
		c: HELLO 3`},
	{"RESET waits for the confirmations before it", `
		c: SUBSCRIBE ch1 ch3
		c+ RESET
		c+ GET s1`},
	{"a subscription that follows the end of the last one is confirmed whole", `
		a: SUBSCRIBE ch1
		a+ UNSUBSCRIBE
		a+ SUBSCRIBE ch1 ch2 ch3
		a+ PING
		a+ UNSUBSCRIBE
		a+ PING
		a+ MULTI
		a+ EXEC
		b: PUBLISH ch1 x`},
	{"a script that came with a wrong number of keys is not known", `
		a: EVAL "return 1" "two words"
		a: EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		a: SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db`},
	{"a script that does not compile is not known", `
		a: EVAL "return (" 0
		a: SCRIPT LOAD "return ("
		a: EVALSHA 728acb63e2aaef0ee859ece5db586bff5d800d1e 0
		a: SCRIPT EXISTS 728acb63e2aaef0ee859ece5db586bff5d800d1e`},
	{"a script in a transaction that was discarded is not known", `
		a: MULTI
		a: EVAL "return 1" 0
		a: DISCARD
		a: EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		a: MULTI
		a: EVAL "return 1" 0
		a: EXEC
		a: EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0`},
	{"a script that does not compile, twice in a transaction", `
		b: MULTI
		b+ EVAL "#!python\nreturn 1" 1 s1 x
		b+ EVAL "#!python\nreturn 1" 1 s1 y
		b+ EVAL "return 3" 0
		b+ EVAL "return 3" 0
		b+ EXEC`},
	{"SCRIPT FLUSH is heard on every loop at once", `
		a: EVAL "return 1" 0
		b: EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		c: EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		a: SCRIPT FLUSH
		b: EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		c: EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0`},
	{"SCRIPT FLUSH inside a transaction", `
		a: SCRIPT LOAD "return 1"
		b: EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		d: MULTI
		d+ EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		d+ SCRIPT FLUSH
		d+ EVAL "return 2" 0
		d+ EXEC
		b: EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		b: EVALSHA 7f923f79fe76194c868d7e1d0820de36700eb649 0`},
	{"HELLO switches the protocol of a session with a link of its own", `
		c: WATCH s1
		c+ HELLO 3
		c+ FUNCTION STATS
		c+ GET nothing
		c+ UNWATCH
		c+ GET nothing
		c+ SUBSCRIBE ch1
		c+ HELLO 2
		c+ GET nothing
		d: PUBLISH ch1 x
		c: UNSUBSCRIBE
		c+ GET nothing`},
	{"HELLO with AUTH switches the protocol of a session with a link of its own", `
		a: ACL SETUSER writer on >secret ~* &* +@all
		b: WATCH s1
		b: HELLO 3 AUTH writer secret
		b+ ACL WHOAMI
		b+ GET nothing
		b+ UNWATCH
		b+ ACL WHOAMI
		b+ HELLO 2 AUTH writer wrong
		b+ GET nothing
		b: DEBUG PROTOCOL null
		b: HELLO 2 AUTH writer secret
		b+ GET nothing`},
	{"HELLO inside a transaction", `
		a: MULTI
		a+ HELLO 3 SETNAME alice
		a+ GET nothing
		a+ EXEC
		a+ GET nothing
		a+ CLIENT GETNAME
		a: MULTI
		a+ HELLO 4
		a+ HELLO
		a+ HELLO 2
		a+ EXEC
		a+ GET nothing
		a: MULTI
		a+ HELLO 3
		a+ HELLO
		a+ EXEC`},
	{"a database that does not exist is refused in the server's words", `
		d: SELECT 16
		d: SET s1 v
		d: SELECT 16
		d+ SELECT -1
		d+ SELECT x
		d+ GET s1`},
	{"SELECT inside a transaction takes effect if the server says so", `
		d: MULTI
		d+ SELECT 16
		d+ EXEC
		d+ SET s1 0
		d: MULTI
		d+ SELECT 3
		d+ GET s1
		d+ EXEC
		d+ SET s1 3
		d+ SELECT 0
		d+ GET s1`},
	{"CLIENT speaks of the session inside a transaction too", `
		a: CLIENT SETNAME alice
		a: MULTI
		a+ CLIENT GETNAME
		a+ CLIENT SETNAME bob
		a+ CLIENT GETNAME
		a+ CLIENT ID
		a+ EXEC
		a+ CLIENT GETNAME`},
	{"SUBSCRIBE inside a transaction", `
		a: MULTI
		a+ SUBSCRIBE ch1
		a+ SET s1 v
		a+ EXEC
		b: PUBLISH ch1 x
		a: GET s1
		a: PING
		a: UNSUBSCRIBE
		a: GET s1`},
	{"DISCARD and EXEC without MULTI leave what is watched", `
		d: WATCH s4
		d+ SET s4 v
		d+ DISCARD
		d+ MULTI
		d+ EXEC
		d: WATCH s4
		d+ SET s4 w
		d+ EXEC
		d+ MULTI
		d+ EXEC`},
	{"users call scripts as far as the server lets them", `
		a: SCRIPT LOAD "return redis.call('set', KEYS[1], ARGV[1])"
		a: SCRIPT LOAD "return {KEYS[1],ARGV[1]}"
		a: ACL SETUSER shaonly on >secret ~* +@read +@write +evalsha +@transaction
		a: ACL SETUSER bodyonly on >secret ~* +@read +@write +eval
		a: ACL SETUSER noscript on >secret ~* +@read +@write
		b: AUTH shaonly secret
		b: EVALSHA bfbf458525d6a0b19200bfd6db3af481156b367b 1 s1 v
		b: EVALSHA 55b22c0d0cedf3866879ce7c854970626dcef0c3 1 s1 v
		b: EVALSHA 55b22c0d0cedf3866879ce7c854970626dcef0c3 1 s1 v
		b+ EVALSHA 55b22c0d0cedf3866879ce7c854970626dcef0c3 1 s1 w
		b+ GET s1
		b+ EVALSHA 55b22c0d0cedf3866879ce7c854970626dcef0c3 1 s1 x
		b+ GET s1
		b: EVAL "return 1" 0
		b: EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		c: AUTH bodyonly secret
		c: EVAL "return redis.call('set', KEYS[1], ARGV[1])" 1 s1 v
		c+ GET s1
		c+ EVAL "return redis.call('set', KEYS[1], ARGV[1])" 1 s1 y
		c+ GET s1
		c: EVAL "return redis.call('set', KEYS[1], ARGV[1])" 1 s1 v
		c: EVAL "return 7" 0
		c: EVALSHA 55b22c0d0cedf3866879ce7c854970626dcef0c3 1 s1 x
		d: AUTH noscript secret
		d: EVAL "return 1" 0
		d: EVALSHA 55b22c0d0cedf3866879ce7c854970626dcef0c3 1 s1 x
		d+ EVALSHA 55b22c0d0cedf3866879ce7c854970626dcef0c3 1 s1 x
		d+ EVAL "return 1" 0
		b: MULTI
		b+ EVALSHA 55b22c0d0cedf3866879ce7c854970626dcef0c3 1 s1 w
		b+ EXEC`},
	{"a subscription that is refused is answered before CLIENT REPLY OFF", `
		c: ACL SETUSER caller on >secret ~* +@read +@connection
		d: AUTH caller secret
		d+ UNSUBSCRIBE
		d+ CLIENT REPLY OFF
		d+ CLIENT REPLY ON
		d: GET s1`},
	{"a user's first transaction leaves no script behind", `
		b: ACL SETUSER fresh on >secret ~* &* +@all
		a: AUTH fresh secret
		a: MULTI
		a+ GET s1
		a+ EXEC
		a: SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db
		a: EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0`},
	{"confirmations come although CLIENT REPLY is off", `
		a: CLIENT REPLY SKIP
		a+ SUBSCRIBE ch1 ch2
		a+ PING
		b: PUBLISH ch1 x
		a: UNSUBSCRIBE
		a: CLIENT REPLY OFF
		a+ SUBSCRIBE ch1
		b: PUBLISH ch1 x
		a: UNSUBSCRIBE
		a: CLIENT REPLY ON`},
	{"a script that says NOPERM runs once", `
		a: EVAL "redis.call('incr', KEYS[1]) return redis.error_reply('NOPERM this user has no permissions to run the \\'evalsha\\' command')" 1 s1
		a: EVAL "redis.call('incr', KEYS[1]) return redis.error_reply(ARGV[1])" 1 s1 "NOPERM this user has no permissions to run the 'eval' command"
		a: SET s2 x
		a+ EVAL "redis.call('incr', KEYS[1]) return redis.error_reply(ARGV[1])" 1 s1 "NOPERM this user has no permissions to run the 'eval' command"
		a+ GET s1`},
	{"MULTI and WATCH inside a transaction are not queued", `
		a: MULTI
		a+ MULTI
		a+ WATCH s1
		a+ SELECT 2
		a+ EXEC
		a+ SET s1 v
		a+ SELECT 0
		a+ GET s1`},
	{"CLIENT REPLY SKIP is about a large request as about a small one", `
		d: CLIENT REPLY SKIP
		d+ SET s1 @1844318
		d: STRLEN s1
		d: CLIENT REPLY SKIP
		d+ EVAL "return redis.call('set', KEYS[1], ARGV[1])" 1 s2 @1844318
		d+ STRLEN s2`},
	{"whether a user has EVAL is for the server to say, also of a script that it knows", `
		a: EVAL "return 1" 0
		a: EVAL_RO "return 1" 0
		a: ACL SETUSER caller on >secret ~* +@read +@write +@connection +@transaction +evalsha +evalsha_ro
		b: AUTH caller secret
		b: EVAL "return 1" 0
		b: EVAL_RO "return 1" 0
		b: EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		b: EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		b+ EVAL "return 1" 0
		b+ EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		b: MULTI
		b+ EVAL "return 1" 0
		b+ EXEC
		c: AUTH caller secret
		c: MULTI
		c+ EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		c+ EVAL "return 1" 0
		c+ EXEC`},
	{"whether a user has EVALSHA is for the server to say, also in a pipeline", `
		a: ACL SETUSER bodier on >secret ~* +@read +@write +@connection +@transaction +eval +eval_ro
		b: AUTH bodier secret
		b+ EVAL "return 1" 0
		b+ GET s1
		b+ EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		b+ GET s1
		b+ EVAL "return 1" 0
		b: MULTI
		b+ EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		b+ EXEC
		c: AUTH bodier secret
		c: MULTI
		c+ EVAL "return 1" 0
		c+ EXEC
		c: MULTI
		c+ EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
		c+ EXEC`},
	{"CLIENT CACHING is about the transaction that follows", `
		a: HELLO 3
		a: CLIENT TRACKING ON OPTIN
		a: CLIENT CACHING YES
		a+ MULTI
		a+ GET s1
		a+ EXEC
		b: SET s1 v
		a: CLIENT CACHING YES
		a: EVAL "return redis.call('get', KEYS[1])" 1 s1
		b: SET s1 w
		a: GET s1`},
}
