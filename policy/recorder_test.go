package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// record shows calls to r as the proxy would.
func record(r *Recorder, calls ...Call) {
	for i := range calls {
		if c := &calls[i]; !r.Seen(c) {
			r.Record(c)
		}
	}
}

func call(user, addr string, c Call) Call {
	c.User = user
	if addr != "unix" {
		c.Addr = netip.MustParseAddr(addr)
	}
	return c
}

// summary gives a rule's conditions in one line.
func summary(r Rule) string {
	m := &r.Match
	text := r.Name + ": " + strings.Join(m.Users, ",") + " from " + strings.Join(m.Networks, ",")
	for _, list := range [][]string{m.Scripts, m.Functions, m.SHAs, m.Commands, m.Classes} {
		if len(list) > 0 {
			text += " " + strings.Join(list, ",")
		}
	}
	if m.MinKeys != nil {
		text += fmt.Sprintf(" keys %d-%d bytes -%d", *m.MinKeys, *m.MaxKeys, *m.MaxArgBytes)
	}
	return text
}

func TestWhatWasRecordedBecomesRules(t *testing.T) {
	r := NewRecorder(RecorderOptions{Container: func(name string) bool { return name == "command" || name == "config" }})
	transfer := Call{Script: "transfer", Class: ClassWrite, Keys: 2, ArgBytes: 90}
	report := Call{Script: "report", Class: ClassRead, Keys: 1, ArgBytes: 100}
	record(r,
		call("app", "10.0.0.1", transfer), call("app", "10.0.0.9", transfer), call("app", "10.0.1.9", transfer),
		call("web", "10.0.0.1", transfer), call("web", "10.0.1.1", transfer),
		call("web", "10.0.1.1", report), call("web", "10.0.1.1", Call{Script: "report", Class: ClassRead, Keys: 7, ArgBytes: 1025}),
		call("web", "unix", Call{SHA: shaStranger, Class: ClassWrite}),
		call("app", "::1", Call{Function: "pay", Class: ClassWrite, ArgBytes: 1}),
		call("app", "10.0.0.1", Call{Command: "get"}), call("app", "10.0.0.1", Call{Command: "set", Keys: 3}),
		call("web", "10.0.0.1", Call{Command: "get"}), call("web", "10.0.0.1", Call{Command: "set"}),
		call("web", "10.0.0.1", Call{Command: "command"}), call("web", "10.0.0.1", Call{Command: "command|docs"}),
	)
	spec, notes := r.Spec()
	var got []string
	for _, rule := range spec.Rules {
		got = append(got, summary(rule))
	}
	want := []string{
		"learned transfer: app,web from 10.0.0.0/24,10.0.1.0/24 transfer write keys 2-2 bytes -128",
		"learned report: web from 10.0.1.0/24 report read keys 1-7 bytes -2048",
		"learned function pay: app from ::/64 pay write keys 0-0 bytes -1",
		"learned sha 99999999: web from unix " + shaStranger + " write keys 0-0 bytes -0",
		"learned commands of web: web from 10.0.0.0/24 command|,command|docs",
		"learned commands of app: app,web from 10.0.0.0/24 get,set",
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) || len(notes) > 0 {
		t.Errorf("got:\n%s\nwant:\n%s\nnotes: %v", strings.Join(got, "\n"), strings.Join(want, "\n"), notes)
	}
	if spec.Default != Deny || spec.DefaultCommands != Deny {
		t.Error("what was not recorded is allowed")
	}
}

// randomCall is one that testCatalog knows.
func randomCall(r *rand.Rand, catalog *Catalog) (Call, Query) {
	q := randomQuery(r, catalog)
	q.Listener = ""
	c := Call{User: q.User, Addr: q.Addr, Command: q.Command, Class: *q.Class, Keys: q.Keys, ArgBytes: q.ArgBytes}
	switch {
	case q.Command != "":
	case q.Registered:
		c.Script = q.Script.Name
	case q.Script.Function != "":
		c.Function, q.Script.SHA = q.Script.Function, ""
	default:
		if q.Script.SHA == "" {
			q.Script.SHA = shaStranger
		}
		c.SHA = q.Script.SHA
	}
	return c, q
}

func TestALearnedPolicyAllowsWhatWasRecordedAndNothingElse(t *testing.T) {
	catalog := testCatalog()
	container := func(name string) bool { return name == "config" }
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		r := NewRecorder(RecorderOptions{V4Bits: 32, V6Bits: 128, ExactSizes: true, Container: container})
		var learned []Query
		for range rnd.IntN(200) {
			c, q := randomCall(rnd, &catalog)
			record(r, c)
			learned = append(learned, q)
		}
		spec, notes := r.Spec()
		spec.Mode = ModeEnforce
		s, err := Compile(spec, catalog)
		if err != nil || len(notes) > 0 {
			t.Fatalf("seed %d: a learned policy is refused: %v %v", seed, err, notes)
		}
		for _, q := range learned {
			if v := s.Decide(requestFor(s, q)); v.Action != Allow || v.Rule == NoRule {
				t.Fatalf("seed %d: %+v was recorded and is denied\n%s", seed, q, s.Explain(q))
			}
		}
		for range 300 {
			c, q := randomCall(rnd, &catalog)
			v := s.Decide(requestFor(s, q))
			covered := r.Seen(&c) || c.Command != "" && slices.ContainsFunc(learned, func(l Query) bool {
				return l.Command == c.Command && l.User == c.User && l.Addr == c.Addr
			})
			if (v.Action == Allow) != covered {
				t.Fatalf("seed %d: %+v was recorded: %v; verdict %v\n%s", seed, q, covered, v.Action, s.Explain(q))
			}
		}
	}
}

func TestCallsThatRulesCannotNameAreLeftOutAndSaid(t *testing.T) {
	r := NewRecorder(RecorderOptions{})
	record(r,
		call("a*", "10.0.0.1", Call{Script: "x"}), call("app", "10.0.0.1", Call{Function: "f?"}),
		call("app", "10.0.0.1", Call{Command: "ge\nt"}), call("", "10.0.0.1", Call{Command: "get"}),
		call("app", "10.0.0.1", Call{}))
	spec, notes := r.Spec()
	if len(spec.Rules) != 0 || len(notes) != 5 || !strings.Contains(notes[3], `script "x" of user "a*" is left out`) {
		t.Errorf("%d rules; notes:\n%s", len(spec.Rules), strings.Join(notes, "\n"))
	}
}

func TestARecorderKeepsABoundedAmount(t *testing.T) {
	r := NewRecorder(RecorderOptions{V4Bits: 32})
	for i := range maxRecorded + 10 {
		record(r, call("app", "10.0.0.1", Call{SHA: fmt.Sprintf("%040x", i)}))
	}
	for i := range maxRecordedNetworks + 10 {
		c := Call{User: "app", SHA: fmt.Sprintf("%040x", 0), Addr: netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})}
		r.Record(&c)
	}
	if _, notes := r.Spec(); r.Len() != maxRecorded || len(notes) != 1 || !strings.HasPrefix(notes[0], "21 calls are left out") {
		t.Errorf("%d entries, notes %v", r.Len(), notes)
	}
}

func TestRecordingIsSafeAmongGoroutines(t *testing.T) {
	r := NewRecorder(RecorderOptions{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 3000 {
				record(r, call("app", fmt.Sprintf("10.0.%d.1", g), Call{Script: fmt.Sprintf("s%d", i), Keys: g, ArgBytes: int64(i)}))
			}
		})
	}
	wg.Wait()
	for g := range 8 {
		for i := range 3000 {
			if c := call("app", fmt.Sprintf("10.0.%d.200", g), Call{Script: fmt.Sprintf("s%d", i), Keys: g, ArgBytes: int64(i)}); !r.Seen(&c) {
				t.Fatalf("%+v is lost", c)
			}
		}
	}
	if r.Len() != 3000 {
		t.Errorf("%d entries", r.Len())
	}
}

func TestLookingAtARecorderAllocatesNothing(t *testing.T) {
	r := NewRecorder(RecorderOptions{})
	c := call("app", "10.0.0.1", Call{Script: "transfer", Keys: 2, ArgBytes: 100})
	record(r, c)
	if n := testing.AllocsPerRun(100, func() { r.Seen(&c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecorderSeen(b *testing.B) {
	r := NewRecorder(RecorderOptions{})
	c := call("app", "10.0.0.1", Call{Script: "transfer", Keys: 2, ArgBytes: 100})
	for i := range 10000 {
		record(r, call("app", "10.0.0.1", Call{Script: fmt.Sprint(i)}))
	}
	record(r, c)
	b.ReportAllocs()
	for b.Loop() {
		if !r.Seen(&c) {
			b.Fatal("it was not seen")
		}
	}
}
