package policy

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// largeSpec has 1,000 rules of every kind, and largeCatalog 10,000 scripts. No rule decides the call that
// the benchmarks ask about before the last word of the masks: the slowest case.
func largeSpec() Spec {
	spec := Spec{Mode: ModeEnforce, Default: Deny}
	for i := range 1000 {
		r := Rule{Name: fmt.Sprintf("rule-%d", i), Action: Action(1 + i%2)}
		m := &r.Match
		keys, size := i%50, int64(i*100)
		switch i % 8 {
		case 0:
			m.Users = []string{fmt.Sprintf("user-%d", i)}
		case 1:
			m.Networks = []string{fmt.Sprintf("10.%d.%d.0/24", i/256, i%256)}
		case 2:
			m.Scripts = []string{fmt.Sprintf("team-%d/*", i%100)}
			m.MinKeys = &keys
			m.MaxArgBytes = &size
		case 3:
			m.Tags = []string{fmt.Sprintf("tag-%d", i)}
			m.MinArgBytes = &size
		case 4:
			m.Uses = []string{"keys", "flushall"}
			m.Users = []string{fmt.Sprintf("*-user-%d", i)}
		case 5:
			r.Action, r.Deadline = Continue, time.Duration(i)*time.Millisecond
			m.Users = []string{"app"}
		case 6:
			m.Hours = []string{fmt.Sprintf("%02d:00-%02d:30", i%24, i%24)}
			m.Users = []string{fmt.Sprintf("u%d", i)}
		case 7:
			m.Commands = []string{"flushall", "config|*"}
			m.Users = []string{fmt.Sprintf("user-%d", i)}
		}
		spec.Rules = append(spec.Rules, r)
	}
	spec.Rules[999] = Rule{Name: "last", Action: Allow, Match: Match{Users: []string{"app"}},
		Rates: []Rate{{Per: PerScript, Limit: 1e6}}, MaxConcurrent: 100}
	return spec
}

func largeCatalog() Catalog {
	var c Catalog
	for i := range 10000 {
		c.Scripts = append(c.Scripts, Script{
			Name: fmt.Sprintf("svc-%d/script-%d", i%100, i), Version: "v1", SHA: fmt.Sprintf("%040x", i),
			Tags: []string{fmt.Sprintf("other-%d", i%40)}, Commands: []string{"get", "set"},
		})
	}
	for _, name := range []string{"get", "set", "keys", "flushall", "config", "config|get", "config|set"} {
		c.Commands = append(c.Commands, Command{Name: name})
	}
	return c
}

func largeRequests(s *Set) []Request {
	now := s.Moment(time.Date(2024, 5, 15, 12, 0, 0, 0, time.UTC))
	session := s.Session("app", netip.MustParseAddr("192.0.2.1"), 0)
	var list []Request
	for i := range 1024 {
		list = append(list, Request{Session: session, Script: ScriptRef(i * 9), Class: ClassWrite, Keys: i % 60, ArgBytes: int64(i * 97), Now: now})
	}
	return list
}

// reportCPU adds the processor time per operation, which says more than the elapsed time where others use the
// machine too. Call the returned function after the loop.
func reportCPU(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

func BenchmarkDecide(b *testing.B) {
	s := must(Compile(largeSpec(), largeCatalog()))(b)
	requests := largeRequests(s)
	b.Run("1000rules/10000scripts", func(b *testing.B) {
		b.ReportAllocs()
		defer reportCPU(b)()
		i := 0
		for b.Loop() {
			if v := s.Decide(&requests[i&1023]); v.Rule != 999 {
				b.Fatalf("rule %d decides", v.Rule)
			}
			i++
		}
	})
	b.Run("command", func(b *testing.B) {
		r := requests[0]
		r.Command = s.Command("flushall", "")
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			if v := s.Decide(&r); v.Action != Allow {
				b.Fatal("denied")
			}
		}
	})
	small := must(Compile(Spec{Mode: ModeEnforce, Rules: largeSpec().Rules[:50]}, largeCatalog()))(b)
	requests = largeRequests(small)
	b.Run("50rules/10000scripts", func(b *testing.B) {
		b.ReportAllocs()
		defer reportCPU(b)()
		i := 0
		for b.Loop() {
			small.Decide(&requests[i&1023])
			i++
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	s := must(Compile(largeSpec(), largeCatalog()))(b)
	v := s.Decide(&largeRequests(s)[0])
	b.ReportAllocs()
	now := int64(0)
	for b.Loop() {
		now += 1e6
		if a := v.Admit(now); a.OK {
			v.Leave()
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	spec, catalog := largeSpec(), largeCatalog()
	for b.Loop() {
		if _, err := Compile(spec, catalog); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSession(b *testing.B) {
	s := must(Compile(largeSpec(), largeCatalog()))(b)
	addr := netip.MustParseAddr("10.0.77.1")
	b.ReportAllocs()
	for b.Loop() {
		s.Session("app", addr, 0)
	}
}

func TestDecidingAllocatesNothing(t *testing.T) {
	s := must(Compile(largeSpec(), largeCatalog()))(t)
	requests := largeRequests(s)
	counters := NewCounters(s)
	run := func() {
		for i := range requests {
			v := s.Decide(&requests[i])
			counters.Count(&v)
			if a := v.Admit(int64(i) * 1e9); a.OK {
				v.Leave()
			}
		}
	}
	run() // limits are made on first use
	if n := testing.AllocsPerRun(10, run); n != 0 {
		t.Errorf("%v allocations in %d calls", n, len(requests))
	}
}
