package metrics

import (
	"math"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestCountsOfAllLoopsAreSummed(t *testing.T) {
	m, ls := loops(t, Options{}, 3)
	transfer, lock := m.Script("transfer", "v2"), m.Script("lock", "v1")
	node, rule := m.Node("10.0.0.1:6379"), m.Rule("no-keys-star")
	for _, l := range ls {
		l.do(func(s *Shard) {
			s.ScriptCall(transfer, RoutePrimary, OutcomeOK, 2*time.Millisecond, false)
			s.ScriptCall(transfer, RoutePrimary, OutcomeOK, 200*time.Millisecond, true)
			s.ScriptCall(transfer, RouteReplica, OutcomeError, time.Millisecond, false)
			s.ScriptCall(lock, RouteLocal, OutcomeDenied, -1, false)
			s.ScriptCall(0, RoutePrimary, OutcomeNoScript, 10*time.Microsecond, false)
			s.Request(ClassScript)
			s.Request(ClassRead)
			s.Ping(PingBusy)
			s.Error(ErrSlowClient)
			s.Heal(node)
			s.Policy(rule, VerdictDeny)
		})
	}
	got := values(t, m.Registry())
	expect(t, got, "script_calls_total{outcome=ok,route=primary,script=transfer,version=v2}", 6)
	expect(t, got, "script_calls_total{outcome=error,route=replica,script=transfer,version=v2}", 3)
	expect(t, got, "script_calls_total{outcome=denied,route=local,script=lock,version=v1}", 3)
	expect(t, got, "script_calls_total{outcome=noscript,route=primary,script=unregistered,version=}", 3)
	expect(t, got, "script_duration_seconds_count{route=primary,script=transfer}", 6)
	expect(t, got, "script_duration_seconds_sum{route=primary,script=transfer}", .606)
	expectAbsent(t, got, "script_duration_seconds_count{route=local")
	expect(t, got, "slow_scripts_total{script=transfer}", 3)
	expect(t, got, "slow_scripts_total{script=lock}", 0)
	expect(t, got, "requests_total{class=script}", 3)
	expect(t, got, "requests_total{class=read}", 3)
	expect(t, got, "requests_total{class=write}", 0)
	expect(t, got, "ping_total{answer=pong_busy}", 3)
	expect(t, got, "errors_total{kind=slow_client}", 3)
	expect(t, got, "script_heals_total{node=10.0.0.1:6379}", 3)
	expect(t, got, "policy_decisions_total{rule=no-keys-star,verdict=deny}", 3)
	expect(t, got, "policy_decisions_total{rule=no-keys-star,verdict=audit}", 0)
	expect(t, got, "scrape_incomplete_total{}", 0)
}

func TestVersionsOfAScriptShareItsDurations(t *testing.T) {
	m, ls := loops(t, Options{}, 1)
	v1, v2 := m.Script("transfer", "v1"), m.Script("transfer", "v2")
	ls[0].do(func(s *Shard) {
		s.ScriptCall(v1, RoutePrimary, OutcomeOK, time.Second, true)
		s.ScriptCall(v2, RoutePrimary, OutcomeOK, time.Second, true)
	})
	got := values(t, m.Registry())
	expect(t, got, "script_calls_total{outcome=ok,route=primary,script=transfer,version=v1}", 1)
	expect(t, got, "script_calls_total{outcome=ok,route=primary,script=transfer,version=v2}", 1)
	expect(t, got, "script_duration_seconds_count{route=primary,script=transfer}", 2)
	expect(t, got, "slow_scripts_total{script=transfer}", 2)
}

func TestUncountedScriptCallsLeaveNoSeriesAndTheRestIsCounted(t *testing.T) {
	m, ls := loops(t, Options{Uncounted: true}, 1)
	v1 := m.Script("transfer", "v1")
	ls[0].do(func(s *Shard) {
		s.ScriptCall(v1, RoutePrimary, OutcomeOK, time.Second, true)
		s.Request(ClassScript)
	})
	got := values(t, m.Registry())
	expect(t, got, "requests_total{class=script}", 1)
	for series := range got {
		if strings.HasPrefix(series, "script_calls_total") || strings.HasPrefix(series, "script_duration") || strings.HasPrefix(series, "slow_scripts") {
			t.Errorf("there is %s", series)
		}
	}
}

func TestWhatWasNeverGivenCountsAsTheCatchAll(t *testing.T) {
	m, ls := loops(t, Options{}, 1)
	ls[0].do(func(s *Shard) {
		s.ScriptCall(math.MaxUint32, 200, 200, time.Second, false)
		s.ScriptCall(math.MaxUint32, 200, 200, time.Second, false)
		s.Heal(math.MaxUint32)
		s.Policy(math.MaxUint32, 200)
		s.Request(200)
		s.Ping(200)
		s.Error(200)
	})
	got := values(t, m.Registry())
	expect(t, got, "script_calls_total{outcome=may_have_run,route=local,script=unregistered,version=}", 2)
	expect(t, got, "script_heals_total{node=other}", 1)
	expect(t, got, "policy_decisions_total{rule=other,verdict=audit}", 1)
	expect(t, got, "requests_total{class=local}", 1)
	expect(t, got, "ping_total{answer=unavailable}", 1)
	expect(t, got, "errors_total{kind=internal}", 1)
}

func TestIdsRegisteredWhileLoopsRunAreCounted(t *testing.T) {
	m, ls := loops(t, Options{}, 1)
	for i, name := range []string{"a", "b", "c"} {
		id, node, rule := m.Script(name, "v1"), m.Node(name), m.Rule(name)
		ls[0].do(func(s *Shard) {
			for range i + 1 {
				s.ScriptCall(id, RoutePrimary, OutcomeOK, 0, false)
				s.Heal(node)
				s.Policy(rule, VerdictAllow)
			}
		})
		got := values(t, m.Registry())
		expect(t, got, "script_calls_total{outcome=ok,route=primary,script="+name+",version=v1}", float64(i+1))
		expect(t, got, "script_heals_total{node="+name+"}", float64(i+1))
		expect(t, got, "policy_decisions_total{rule="+name+",verdict=allow}", float64(i+1))
	}
}

func TestAFullCellLosesNothing(t *testing.T) {
	m, ls := loops(t, Options{NativeHistograms: true}, 1)
	id := m.Script("s", "v1")
	const before = cellFull - 2
	ls[0].do(func(s *Shard) {
		s.ScriptCall(id, RoutePrimary, OutcomeOK, time.Millisecond, true)
		c := s.cur.cells[int(id)*int(numRoutes)]
		c.calls, c.outcomes[OutcomeOK], c.slow = before, before, before
		c.buckets[classicBucket(time.Millisecond)] = before
		c.native.octave[0][nativeBucket(time.Millisecond)&7] = before
		for range 5 {
			s.ScriptCall(id, RoutePrimary, OutcomeOK, time.Millisecond, true)
		}
		if len(s.cur.spilled) != 1 {
			t.Errorf("%d cells were set aside, want 1", len(s.cur.spilled))
		}
	})
	got := values(t, m.Registry())
	expect(t, got, "script_calls_total{outcome=ok,route=primary,script=s,version=v1}", before+5)
	expect(t, got, "slow_scripts_total{script=s}", before+5)
	expect(t, got, "script_duration_seconds_count{route=primary,script=s}", before+5)
	if n := nativeCounts(durations(t, m)); len(n) != 1 || n[0][1] != before+5 {
		t.Errorf("native buckets %v, want one with %d", n, before+5)
	}
}

// record does one of everything that a loop records.
func record(s *Shard, ids []ScriptID, node NodeID, rule RuleID, i int) {
	s.ScriptCall(ids[i%len(ids)], Route(i%2), Outcome(i%int(numOutcomes)), time.Duration(i)*time.Microsecond, i%8 == 0)
	s.Request(Class(i % int(numClasses)))
	s.Ping(PingOutcome(i % int(numPings)))
	s.Error(ErrKind(i % int(numErrKinds)))
	s.Heal(node)
	s.Policy(rule, Verdict(i%int(numVerdicts)))
}

func TestTotalsAreExactAfterRecordingWhileScraping(t *testing.T) {
	const nLoops, perLoop, nScripts = 3, 30_000, 200
	m, ls := loops(t, Options{NativeHistograms: true}, nLoops)
	var ids []ScriptID
	for i := range nScripts {
		ids = append(ids, m.Script(string(rune('a'+i%26))+"-script", string(rune('A'+i/26))))
	}
	node, rule := m.Node("n"), m.Rule("r")

	stop := make(chan struct{})
	var scrapers, recorders sync.WaitGroup
	for range 2 {
		scrapers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					values(t, m.Registry())
					scrape(t, m, "text/plain")
				}
			}
		})
	}
	for _, l := range ls {
		recorders.Go(func() {
			for from := 0; from < perLoop; from += 100 {
				l.do(func(s *Shard) {
					for i := range 100 {
						record(s, ids, node, rule, from+i)
					}
				})
			}
		})
	}
	recorders.Wait()
	close(stop)
	scrapers.Wait()

	var calls, observed, requests, slow float64
	got := values(t, m.Registry())
	for key, v := range got {
		switch {
		case hasName(key, "script_calls_total"):
			calls += v
		case hasName(key, "script_duration_seconds_count"):
			observed += v
		case hasName(key, "requests_total"):
			requests += v
		case hasName(key, "slow_scripts_total"):
			slow += v
		}
	}
	const want = nLoops * perLoop
	if calls != want || observed != want || requests != want || slow != want/8 {
		t.Errorf("calls %v, durations %v, requests %v (want %d each); slow %v (want %d)", calls, observed, requests, want, slow, want/8)
	}
	expect(t, got, "script_heals_total{node=n}", want)
	expect(t, got, "policy_decisions_total{rule=r,verdict=allow}", want/3)
	expect(t, got, "scrape_incomplete_total{}", 0)
}

func hasName(key, name string) bool { return len(key) > len(name) && key[:len(name)+1] == name+"{" }

func TestALoopThatDoesNotAnswerIsLeftOutAndCountedLater(t *testing.T) {
	m := New(Options{HandOverWait: time.Millisecond})
	prompt, stuck := m.NewShard(), m.NewShard()
	stuck.Request(ClassRead)
	prompt.Request(ClassRead)

	expect(t, values(t, m.Registry()), "requests_total{class=read}", 0)
	prompt.Tick() // one of them answers, too late for the scrape that asked
	got := values(t, m.Registry())
	expect(t, got, "requests_total{class=read}", 1)
	expect(t, got, "scrape_incomplete_total{}", 2)

	stuck.Tick()
	stuck.Request(ClassRead) // after the hand-over: for the next
	stuck.Close()
	prompt.Close()
	got = values(t, m.Registry())
	expect(t, got, "requests_total{class=read}", 3)
	expect(t, got, "scrape_incomplete_total{}", 2)
}

func TestAClosedShardsCountsStay(t *testing.T) {
	m := New(Options{HandOverWait: time.Hour})
	s := m.NewShard()
	s.Request(ClassWrite)
	s.Close()
	for range 3 {
		expect(t, values(t, m.Registry()), "requests_total{class=write}", 1)
	}
}

func TestAScrapeWakesEveryLoop(t *testing.T) {
	var mu sync.Mutex
	woken := map[int]int{}
	m := New(Options{HandOverWait: time.Millisecond, Wake: func(i int) {
		mu.Lock()
		defer mu.Unlock()
		woken[i]++
	}})
	m.NewShard()
	m.NewShard()
	values(t, m.Registry())
	mu.Lock()
	defer mu.Unlock()
	if woken[0] != 1 || woken[1] != 1 || len(woken) != 2 {
		t.Errorf("woken (shard: times) %v, want 0 and 1 once each", woken)
	}
}

func TestRecordingDoesNotAllocateOnceWarm(t *testing.T) {
	m := New(Options{NativeHistograms: true, HandOverWait: time.Hour})
	s := m.NewShard()
	var ids []ScriptID
	for i := range 100 {
		ids = append(ids, m.Script("s", string(rune('a'+i))))
	}
	node, rule := m.Node("n"), m.Rule("r")
	everything := func() {
		for i := range 3 * 100 {
			record(s, ids, node, rule, i)
		}
	}
	for range 3 { // both buffers and their cells
		everything()
		gathered := make(chan struct{})
		go func() { m.gather(); close(gathered) }()
		for !s.ask.Load() {
			time.Sleep(time.Millisecond)
		}
		s.Tick()
		<-gathered
	}
	if n := testing.AllocsPerRun(10, func() { everything(); s.Tick() }); n != 0 {
		t.Errorf("%v allocations per 300 calls, want none", n)
	}
}
