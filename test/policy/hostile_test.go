//go:build linux

package policy

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// analysed makes the analysis look at every script, and denies what it can't read.
const analysed = `
rules:
  - {name: unread, match: {findings: [unanalysed], registered: false}, action: deny}
  - {name: flush, match: {uses: [flushall]}, action: deny}
`

// hostile are bodies that cost an analysis as much as their authors could think of. What becomes of each is in want: the beginning
// of the reply.
var hostile = []struct{ name, body, want string }{
	{"deep nesting", strings.Repeat("(", 100_000) + strings.Repeat(")", 100_000), "-"},
	{"deeply nested tables", "return " + strings.Repeat("{", 50_000) + strings.Repeat("}", 50_000), "-"},
	{"a million functions", strings.Repeat("function a() end ", 1_000_000), "-DENIED "},
	{"10 MB of strings", "return {" + strings.Repeat("'"+strings.Repeat("x", 1000)+"',", 10_000) + "}", "-DENIED "},
	{"one string of 10 MB", "return '" + strings.Repeat("x", 10<<20) + "'", "-DENIED "},
	{"many calls", strings.Repeat("redis.call('GET',KEYS[1]) ", 30_000), "-DENIED "},
	{"only brackets", strings.Repeat("[", 1<<20), "-"},
	{"a long chain of names", "local a='' " + strings.Repeat("a=a..a ", 20_000) + "return 1", "-"},
}

func TestHostileBodiesStayInBoundsWhileTrafficFlows(t *testing.T) {
	s := start(t, redisserver.Start(t, users...), "enforce", analysed, "")
	var calls atomic.Int64
	stop := make(chan struct{})
	ended := make(chan error, 4)
	for i := range cap(ended) {
		conn := s.as("app").conn
		conn.SetDeadline(time.Time{})
		c := redisserver.NewClient(conn)
		go func() {
			ended <- func() error {
				for {
					select {
					case <-stop:
						return nil
					default:
					}
					for _, call := range [][]any{{"EVALSHA", "incr", "1", fmt.Sprint("n", i), "1"}, {"EVALSHA", "get", "1", "n0"}, {"PING"}} {
						got, err := c.Do(call...)
						if refused, failed := got.(redisserver.Error); err != nil || failed {
							return fmt.Errorf("%q: %s, %v", call, refused, err)
						}
						calls.Add(1)
					}
				}
			}()
		}()
	}
	before := s.Memory("VmHWM")
	attacker := s.as("batch")
	for _, h := range hostile {
		for round := range 3 {
			from := calls.Load()
			body := fmt.Sprintf("-- %d\n%s", round, h.body) // not the same twice
			if got := attacker.do("EVAL", body, "1", "k"); !strings.HasPrefix(got, h.want) {
				t.Errorf("%s is answered %.200s, want %s…", h.name, got, h.want)
			}
			s.Eventually("go on serving after "+h.name, func() error {
				return errorUnless(calls.Load() > from, "nobody is served")
			})
		}
	}
	close(stop)
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Errorf("traffic beside it: %v", err)
		}
	}
	// A body of 17 MB is held more than once on its way, an analysis takes 64 MB at most, and the collector lets as much again lie
	// about; the race detector's own memory comes on top.
	grown := s.Memory("VmHWM") - before
	if limit := int64(512 << 20); grown > limit && !program.RaceDetector {
		t.Errorf("the proxy has grown by %d MB", grown>>20)
	}
	t.Logf("%d calls beside it; the proxy has grown by %d MB", calls.Load(), grown>>20)
}
