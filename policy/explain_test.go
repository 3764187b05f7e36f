package policy

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func TestExplanations(t *testing.T) {
	const rules = `
 no-danger deny users=app,batch commands=@dangerous message=ask_the_platform_team
 try-lint audit findings=error message=will_be_denied_in_June
 slow deadline=5s route=replica tags=slow rate=script:10/s,user:5/s
 money allow scripts=transfer networks=10.0.0.0/8 keys=2-2 bytes=-4096
 night deny hours=22:00-06:00 zone=Europe/Berlin classes=write
 rest deny registered=false message=register_it
 last allow users=ops listeners=ops priority=high`
	sets := map[string]*Set{}
	for _, mode := range []string{"enforce", "audit", "off"} {
		sets[mode] = compile(t, "mode="+mode+"\n default=deny"+rules)
	}
	var b strings.Builder
	for _, c := range []struct {
		mode, call string
		open       bool
	}{
		{"enforce", "script=transfer@v2 keys=2 bytes=100", false},
		{"enforce", "script=transfer@v2 keys=3", false},
		{"enforce", "script=report/daily@v1 class=read user=ops listener=ops", false},
		{"enforce", "script=transfer@v1", true},
		{"enforce", "script=? sha=" + shaStranger + " uses=get,set", false},
		{"enforce", "script=? time=2024-05-15T21:00:00Z addr=unix", false},
		{"enforce", "command=FLUSHALL user=batch", false},
		{"enforce", "command=FLUSHALL user=", false},
		{"audit", "command=config|set", false},
		{"off", "command=config|set", false},
	} {
		s := sets[c.mode]
		q := parseQuery(t, c.call, &s.catalog)
		title := c.mode + ": " + c.call
		if c.open {
			q = Query{User: q.User, Script: q.Script, Registered: q.Registered, Keys: -1, ArgBytes: -1}
			title += " (nothing else given)"
		}
		b.WriteString("# " + title + "\n" + s.Explain(q).String() + "\n")
	}
	golden(t, "testdata/explain.golden", b.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it); got:\n%s", file, got)
	}
}
