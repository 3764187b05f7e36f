package policy

import (
	"fmt"
	"testing"
)

// ask decides a call and admits it when it may run.
func ask(t *testing.T, s *Set, call string, now int64) (Verdict, Admission) {
	t.Helper()
	v := s.Decide(requestFor(s, parseQuery(t, call, &s.catalog)))
	return v, v.Admit(now)
}

func TestEachScriptHasItsOwnBudget(t *testing.T) {
	s := compile(t, "a rate=script:1/s concurrent=1")
	for _, call := range []string{"script=transfer@v1", "script=wipe@v1", "script=?", "script=library@v1"} {
		if v, a := ask(t, s, call, 0); !a.OK {
			t.Errorf("%s: the first call is refused: %+v", call, a)
		} else {
			v.Leave()
		}
	}
	for _, call := range []string{"script=transfer@v2", "user=other script=transfer@v1", "script=? sha=" + shaStranger} {
		if _, a := ask(t, s, call, 0); a.OK || a.Exceeded != LimitScriptRate || a.Rule != 0 {
			t.Errorf("%s shares no budget with its like: %+v", call, a)
		}
	}
}

func TestEachUserHasItsOwnBudget(t *testing.T) {
	s := compile(t, "a rate=user:1/s\n b rate=user:1/s commands=get,set")
	for _, call := range []string{"user=a script=?", "user=b script=?", "user=a command=get"} {
		if _, a := ask(t, s, call, 0); !a.OK {
			t.Errorf("%s: the first call is refused: %+v", call, a)
		}
	}
	for _, call := range []string{"user=a script=wipe@v1", "user=a command=set"} {
		if _, a := ask(t, s, call, 0); a.OK || a.Exceeded != LimitUserRate {
			t.Errorf("%s does not count with the user's other calls: %+v", call, a)
		}
	}
}

func TestALimitThatRefusesTakesNothingFromTheOthers(t *testing.T) {
	s := compile(t, "a rate=script:2/s concurrent=1\n b rate=user:1/s")
	if _, a := ask(t, s, "user=x script=?", 0); !a.OK {
		t.Fatalf("%+v", a)
	}
	if _, a := ask(t, s, "user=y script=?", 0); a.OK || a.Exceeded != LimitConcurrency {
		t.Fatalf("a second call runs at the same time: %+v", a)
	}
	v, _ := ask(t, s, "user=z script=?", 0)
	v.Limits.Gate.Release() // of the first call
	if _, a := ask(t, s, "user=x script=?", 0); a.OK || a.Exceeded != LimitUserRate {
		t.Fatalf("%+v", a)
	}
	if _, a := ask(t, s, "user=y script=?", 0); !a.OK {
		t.Errorf("refused calls used up the budget, or the place: %+v", a)
	}
}

func TestInAuditModeLimitsAreReportedAndNotKept(t *testing.T) {
	s := compile(t, "mode=audit\n a concurrent=1 rate=script:1/s,user:1/s")
	v, a := ask(t, s, "script=?", 0)
	if !a.OK || a.Exceeded != NoLimit {
		t.Fatalf("%+v", a)
	}
	if _, a := ask(t, s, "script=?", 0); !a.OK || a.Exceeded != LimitConcurrency || a.Rule != 0 {
		t.Errorf("%+v", a)
	}
	v.Leave()
	v.Leave()
	if _, a := ask(t, s, "script=?", 0); !a.OK || a.Exceeded != LimitScriptRate {
		t.Errorf("%+v", a)
	}
}

func TestRefusalsSayWhichLimit(t *testing.T) {
	s := compile(t, "a concurrent=2 rate=script:600/m,user:5/s\n b commands=get rate=script:1/s")
	for kind, want := range map[LimitKind]string{
		LimitConcurrency: "LIMIT script 'report' version v1: rule 'a': at most 2 at the same time",
		LimitScriptRate:  "LIMIT script 'report' version v1: rule 'a': at most 10/s per script",
		LimitUserRate:    "LIMIT script 'report' version v1: rule 'a': at most 5/s per user",
	} {
		if got := string(s.AppendLimited(nil, "script", "report", "v1", Admission{Exceeded: kind})); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if got, want := string(s.AppendLimited(nil, "command", "get", "", Admission{Exceeded: LimitScriptRate, Rule: 1})),
		"LIMIT command 'get': rule 'b': at most 1/s per command"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLimitsOutliveAReload(t *testing.T) {
	old := compile(t, "gone rate=user:1/s users=nobody\n a rate=script:1/s concurrent=1\n b rate=user:1/s")
	first, _ := ask(t, old, "user=x script=transfer@v1", 0)
	ask(t, old, "user=y script=wipe@v1", 0)

	catalog := testCatalog()
	catalog.Scripts = append([]Script{{Name: "new", Version: "v1"}}, catalog.Scripts...) // other numbers for all
	s, err := Compile(parseSpec(t, "z rate=script:9/s scripts=new\n b rate=user:1/s\n a rate=script:1/s concurrent=1"), catalog)
	if err != nil {
		t.Fatal(err)
	}
	s.Session("early", requestFor(s, parseQuery(t, "user=early script=?", &s.catalog)).Addr, 0)
	s.Inherit(old)
	if _, a := ask(t, s, "user=q script=transfer@v1", 0); a.Exceeded != LimitConcurrency {
		t.Errorf("a call under way is forgotten: %+v", a)
	}
	first.Leave()
	if _, a := ask(t, s, "user=q script=transfer@v1", 0); a.Exceeded != LimitScriptRate {
		t.Errorf("a script's budget is new: %+v", a)
	}
	if _, a := ask(t, s, "user=x script=report/daily@v1", 0); a.Exceeded != LimitUserRate {
		t.Errorf("a user's budget is new: %+v", a)
	}
	if _, a := ask(t, s, "user=q script=library@v1", 0); !a.OK {
		t.Errorf("somebody else's budget was taken: %+v", a)
	}

	changed := compile(t, "a rate=script:2/s concurrent=2")
	changed.Inherit(s)
	if _, a := ask(t, changed, "user=q script=transfer@v1", 0); !a.OK {
		t.Errorf("a limit that was changed is still the old one: %+v", a)
	}
	changed.Inherit(nil)
}

func TestCountersSayWhatEachRuleDid(t *testing.T) {
	s := compile(t, "slow deadline=1s route=replica tags=slow\n try audit uses=flushall\n money allow tags=money\n no deny registered=false\n rate rate=user:1/s")
	loops := []*Counters{NewCounters(s), NewCounters(s)}
	for i, call := range []string{"script=report/daily@v1", "script=wipe@v1", "script=transfer@v1", "script=transfer@v2", "script=?", "command=get"} {
		v, a := ask(t, s, call, 0)
		loops[i%2].Count(&v)
		loops[i%2].CountLimit(a)
	}
	got := ""
	for _, c := range loops[1].Add(loops[0].Add(nil)) {
		got += fmt.Sprintf("%s:%d,%d,%d,%d,%d ", c.Rule, c.Allowed, c.Denied, c.Audited, c.Applied, c.Limited)
	}
	if want := "slow:0,0,0,1,0 try:0,0,1,0,0 money:2,0,0,0,0 no:0,1,0,0,0 rate:0,0,0,2,1 :2,0,0,0,0 "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
