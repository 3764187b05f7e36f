package lua

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// longTimeout keeps tests of results free of the clock.
const longTimeout = time.Minute

func hostileBodies() map[string]string {
	r := strings.Repeat
	return map[string]string{
		"a million functions":            r("function a() end ", 1_000_000),
		"functions up to the limit":      r("function a() end ", 60_000),
		"nested functions":               r("function() ", 100_000),
		"deep parentheses":               "return " + r("(", 400_000) + "1" + r(")", 400_000),
		"deep tables":                    "return " + r("{", 400_000) + r("}", 400_000),
		"deep ifs":                       r("if x then ", 80_000) + r("end ", 80_000),
		"elseifs":                        "if x then " + r("elseif x then ", 40_000) + "end",
		"concats":                        "return 'a'" + r("..'a'", 200_000),
		"sums":                           "return 1" + r("+1", 200_000),
		"sums inside the token limit":    "return 1" + r("+1", 25_000),
		"ors inside the token limit":     "local a = redis return a" + r(" or a", 25_000),
		"unary operators":                "return " + r("- ", 400_000) + "1",
		"nots":                           "return " + r("not ", 200_000) + "1",
		"calls of calls":                 "f" + r("()", 300_000),
		"calls inside the token limit":   "f" + r("()", 20_000),
		"members of members":             "return a" + r(".a", 25_000),
		"indexes of indexes":             "return a" + r("[1]", 15_000),
		"ten megabytes of string":        "return '" + r("a", 10<<20) + "'",
		"a megabyte of escapes":          "return '" + r(`\"`, 500_000) + "'",
		"a megabyte of control bytes":    "return '" + r("\x01", 1<<20-20) + "'",
		"many strings":                   r("x='aaaaaaaaaaaaaaaaaaaaaaaa' ", 35_000),
		"one long comment":               "--[[" + r("x", 1<<20-10) + "]]",
		"many comments":                  r("--\n", 300_000),
		"many lines":                     r("\n", 1<<20),
		"one long name":                  "return " + r("a", 1<<20-10),
		"many names":                     r("local a ", 29_000),
		"one local list":                 "local a" + r(",a", 29_000),
		"aliases in reverse":             reverseAliases(4_000),
		"many constants in one name":     r("a='x' ", 15_000) + "redis.call(a)",
		"one call with many arguments":   "redis.call('DEL'" + r(",KEYS[1]", 9_900) + ")",
		"many calls":                     r("redis.call('SET',KEYS[1],1) ", 4_800),
		"many calls in loops":            r("for i=1,2 do ", 150) + r("redis.call('GET',k..i) ", 4_000) + r("end ", 150),
		"calls of one function":          "local function f(c) return redis.call(c) end " + r("f('GET') ", 14_000),
		"functions that call each other": mutualCalls(1_500),
		"guards after guards":            r("if x then return 1 end ", 9_000),
		"guards with many calls":         r("if redis.call('GET',KEYS[1])==ARGV[1] then redis.call('DEL',KEYS[1]) end ", 1_700),
		"writes and failures":            r("redis.call('LPUSH',KEYS[1],1) if x then error('e') end ", 2_700),
		"failures under many guards":     r("if x then return 1 end ", 4_000) + r("redis.call('LPUSH',KEYS[1],1) if redis.call('GET',KEYS[1])==1 then error('e') end ", 900),
		"loops and conditions":           r("while x do if y then break end ", 190) + r("x=redis.call('GET',KEYS[1]) if z then return end ", 2_000) + r("end ", 190),
		"many small loops":               r("while x do x=f(x) if redis.call('GET',x) then break end end ", 2_500),
		"loops over everything read":     r("for _,v in ipairs(redis.call('SMEMBERS',KEYS[1])) do redis.call('RPUSH',k,v) end ", 1_600),
		"locks deleted":                  "local lock=KEYS[1] " + r("if redis.call('GET',lock)==x then lock=redis.call('GET',lock) end redis.call('DEL',lock) ", 1_400),
		"balances changed":               "local balance=KEYS[1] " + r("local n=tonumber(redis.call('GET',balance)) if n<5 then return end redis.call('DECRBY',balance,n) ", 1_200),
		"one variable given everything":  "local v " + r("v=redis.call('GET',v)..v ", 4_500) + "return v.a",
		"members of one reply":           "local v=redis.call('HGETALL',KEYS[1]) return {" + r("v.a,", 14_000) + "}",
		"keys built from each other":     "local k0='a' " + chain(3_000) + "return 1",
		"one line of wide characters":    "local s='" + r("ж", 250_000) + "' " + r("redis.call('KEYS',s) ", 4_000),
		"tables":                         "local t={" + r("{a=1},", 9_000) + "}",
		"a chain of concats in names":    concatChain(2_000),
		"only opening brackets":          r("[", 1<<20),
		"only quotes":                    r("\"", 1<<20),
		"levels of long brackets":        "return [" + r("=", 1<<20-20),
		"closing brackets that miss":     "return [=[" + r("]", 1<<20-20),
		"numbers":                        "return {" + r("0x1p4,", 28_000) + "}",
		"digits":                         "return " + r("9", 1<<20-10),
	}
}

func reverseAliases(n int) string {
	var sb strings.Builder
	names := func(i int) string { return "v" + strings.Repeat("i", i%50) + string(rune('a'+i%26)) + itoa(i) }
	for i := range n {
		sb.WriteString("local " + names(i) + " ")
	}
	for i := range n - 1 {
		sb.WriteString(names(i) + "=" + names(i+1) + " ")
	}
	return sb.String() + names(n-1) + "=redis.call " + names(0) + "('SET',KEYS[1],1)"
}

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return itoa(i/10) + itoa(i%10)
}

func mutualCalls(n int) string {
	var sb strings.Builder
	for i := range n {
		sb.WriteString("local f" + itoa(i) + " ")
	}
	for i := range n {
		sb.WriteString("f" + itoa(i) + "=function(c,k) redis.call(c,k) f" + itoa((i+1)%n) + "(c,k) end ")
	}
	return sb.String() + "f0('GET',KEYS[1])"
}

func concatChain(n int) string {
	var sb strings.Builder
	sb.WriteString("local s0='a' ")
	for i := range n {
		sb.WriteString("local s" + itoa(i+1) + "=s" + itoa(i) + "..s" + itoa(i) + " ")
	}
	return sb.String() + "redis.call(s" + itoa(n) + ")"
}

func chain(n int) string {
	var sb strings.Builder
	for i := range n {
		sb.WriteString("local k" + itoa(i+1) + "=k" + itoa(i) + "..':x' redis.call('GET',k" + itoa(i+1) + ") ")
	}
	return sb.String()
}

func TestHostileBodiesStayInsideTheirMemory(t *testing.T) {
	for name, body := range hostileBodies() {
		t.Run(name, func(t *testing.T) {
			b := []byte(body)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			a := Analyse(b, Options{})
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			// All that was ever allocated, freed or not, is an upper bound of what was held at once.
			allocated := after.TotalAlloc - before.TotalAlloc
			t.Logf("%v, %d MB allocated, analysed %v %s, %d findings", took, allocated>>20, a.Analysed, a.Why, len(a.Findings))
			if allocated > 64<<20 {
				t.Errorf("%d MB allocated", allocated>>20)
			}
			if !a.Analysed && (a.Class != Write || a.Why == "") {
				t.Errorf("unanalysed, but class %v, why %q", a.Class, a.Why)
			}
		})
	}
}

func TestManyGoroutinesMayAnalyseAtOnce(t *testing.T) {
	body := []byte(readFile(t, "testdata/sound/queue-finish.lua"))
	want := goldenText(Analyse(body, Options{Timeout: longTimeout}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got := goldenText(Analyse(body, Options{Timeout: longTimeout})); got != want {
					t.Errorf("got:\n%s\nwant:\n%s", got, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestAnAnalysisThatRunsOutOfTimeSaysSo(t *testing.T) {
	a := Analyse([]byte(strings.Repeat("redis.call('GET',KEYS[1]) ", 4_000)), Options{Timeout: time.Nanosecond})
	if a.Analysed || a.Class != Write || !strings.Contains(a.Why, "limit of 1ns") {
		t.Errorf("%+v", a)
	}
}

func TestABodyPastTheSizeLimitIsNotLookedAt(t *testing.T) {
	a := Analyse([]byte("return redis.call('GET', KEYS[1])"), Options{MaxBytes: 10})
	if a.Analysed || a.Class != Write || a.Why != "the body is 33 bytes long, the limit is 10" {
		t.Errorf("%+v", a)
	}
}

func TestTheAnalysisKeepsNothingOfTheBody(t *testing.T) {
	body := []byte("#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])")
	a := Analyse(body, Options{ClassOnly: true})
	for i := range body {
		body[i] = 'x'
	}
	if a.Commands[0] != "GET" || a.Flags[0] != "no-writes" {
		t.Errorf("%+v", a)
	}
}
