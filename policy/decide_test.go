package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// describe gives a verdict as the tables write it: action, rule, and what it sets.
func describe(s *Set, v Verdict) string {
	rule := "default"
	if v.Rule != NoRule {
		rule = s.rules[v.Rule].name
	}
	text := v.Action.String() + " " + rule
	if v.Route != RouteAny {
		text += " route=" + v.Route.String()
	}
	if v.Deadline != 0 {
		text += " deadline=" + v.Deadline.String()
	}
	if v.Priority != PriorityNormal {
		text += " priority=" + v.Priority.String()
	}
	if v.Version != "" {
		text += " version=" + v.Version
	}
	for _, l := range []struct {
		name string
		a    attribute
		set  bool
	}{
		{"gate", attrGate, v.Limits.Gate != nil},
		{"script-rate", attrScriptRate, v.Limits.ScriptRate != nil},
		{"user-rate", attrUserRate, v.Limits.UserRate != nil},
	} {
		if l.set {
			text += " " + l.name + "=" + s.rules[v.from[l.a]-1].name
		}
	}
	return text
}

// decideTable holds policies, each followed by calls and their verdicts.
var decideTable = []struct {
	rules string
	calls [][2]string
}{
	{"", [][2]string{
		{"script=transfer@v1", "allow default"},
		{"command=FLUSHALL", "allow default"},
	}},
	{"default=deny", [][2]string{
		{"script=transfer@v1", "deny default"},
		{"script=?", "deny default"},
		{"command=FLUSHALL", "allow default"},
	}},
	{"default-commands=deny\n reads allow commands=@read,PING", [][2]string{
		{"command=GET", "allow reads"},
		{"command=PING", "allow reads"},
		{"command=SET", "deny default"},
		{"command=NOSUCH", "deny default"},
		{"script=?", "allow default"},
	}},
	{"first deny users=app scripts=transfer\n second allow users=app", [][2]string{
		{"user=app script=transfer@v1", "deny first"},
		{"user=app script=wipe@v1", "allow second"},
		{"user=batch script=transfer@v1", "allow default"},
		{"user=app command=GET", "allow default"},
	}},
	{"stars deny users=app-*,job?", [][2]string{
		{"user=app-1 script=?", "deny stars"}, {"user=app script=?", "allow default"},
		{"user=job1 script=?", "deny stars"}, {"user=job12 script=?", "allow default"},
	}},
	{"nets deny networks=10.0.0.0/8,2001:db8::/32,192.0.2.7,unix", [][2]string{
		{"addr=10.255.255.255 script=?", "deny nets"}, {"addr=11.0.0.0 script=?", "allow default"},
		{"addr=9.255.255.255 script=?", "allow default"}, {"addr=192.0.2.7 script=?", "deny nets"},
		{"addr=192.0.2.8 script=?", "allow default"}, {"addr=2001:db8::1 script=?", "deny nets"},
		{"addr=2001:db9:: script=?", "allow default"}, {"addr=::ffff:10.1.1.1 script=?", "deny nets"},
		{"addr=fe80::1%eth0 script=?", "allow default"}, {"addr=unix script=?", "deny nets"},
	}},
	{"edges deny networks=0.0.0.0/1,255.0.0.0/8,::/1,ff00::/8", [][2]string{
		{"addr=0.0.0.0 script=?", "deny edges"}, {"addr=128.0.0.0 script=?", "allow default"},
		{"addr=255.255.255.255 script=?", "deny edges"}, {"addr=:: script=?", "deny edges"},
		{"addr=8000:: script=?", "allow default"}, {"addr=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff script=?", "deny edges"},
		{"addr=unix script=?", "allow default"},
	}},
	{"nested allow networks=10.1.0.0/16\n outer deny networks=10.0.0.0/8", [][2]string{
		{"addr=10.1.2.3 script=?", "allow nested"}, {"addr=10.2.2.3 script=?", "deny outer"},
	}},
	{"ops deny listeners=ops", [][2]string{
		{"listener=ops script=?", "deny ops"}, {"listener=front script=?", "allow default"}, {"script=?", "allow default"},
	}},
	{"by-version deny scripts=transfer@v1\n by-name deny scripts=report/*", [][2]string{
		{"script=transfer@v1", "deny by-version"}, {"script=transfer@v2", "allow default"},
		{"script=report/daily@v1", "deny by-name"}, {"script=?", "allow default"},
	}},
	{"tagged deny tags=slow,money", [][2]string{
		{"script=transfer@v1", "deny tagged"}, {"script=report/daily@v1", "deny tagged"},
		{"script=wipe@v1", "allow default"}, {"script=?", "allow default"},
	}},
	{"sha deny shas=" + shaStranger + "," + shaWipe, [][2]string{
		{"script=wipe@v1", "deny sha"}, {"script=? sha=" + shaStranger, "deny sha"},
		{"script=? sha=" + shaReport, "allow default"}, {"script=?", "allow default"},
	}},
	{"strangers deny registered=false", [][2]string{
		{"script=? sha=" + shaStranger, "deny strangers"}, {"script=?", "deny strangers"}, {"script=wipe@v1", "allow default"},
	}},
	{"known allow registered=true\n rest deny", [][2]string{
		{"script=wipe@v1", "allow known"}, {"script=?", "deny rest"}, {"command=GET", "allow default"},
	}},
	{"reads deny classes=read", [][2]string{
		{"class=read script=?", "deny reads"}, {"class=write script=?", "allow default"},
	}},
	{"uses deny uses=flushall,CONFIG", [][2]string{
		{"script=wipe@v1", "deny uses"}, {"script=? uses=CONFIG|SET", "deny uses"},
		{"script=? uses=get,set", "allow default"}, {"script=?", "allow default"},
	}},
	{"danger deny uses=@dangerous", [][2]string{
		{"script=wipe@v1", "deny danger"}, {"script=report/daily@v1", "deny danger"}, {"script=transfer@v1", "allow default"},
	}},
	{"lint deny findings=warning", [][2]string{
		{"script=transfer@v2", "deny lint"}, {"script=wipe@v1", "deny lint"}, {"script=transfer@v1", "allow default"},
		{"script=? finding=home-made", "deny lint"},
	}},
	{"lint deny findings=nondeterministic", [][2]string{
		{"script=transfer@v2", "deny lint"}, {"script=wipe@v1", "allow default"},
	}},
	{"functions deny functions=lib.*", [][2]string{
		{"script=library@v1", "deny functions"}, {"script=? function=lib.other", "deny functions"},
		{"script=? function=other", "allow default"}, {"script=transfer@v1", "allow default"},
	}},
	{"keys deny keys=2-3\n many deny keys=100-", [][2]string{
		{"keys=1 script=?", "allow default"}, {"keys=2 script=?", "deny keys"}, {"keys=3 script=?", "deny keys"},
		{"keys=4 script=?", "allow default"}, {"keys=1048576 script=?", "deny many"},
	}},
	{"big deny bytes=1024-\n empty deny bytes=-0", [][2]string{
		{"bytes=1023 script=?", "allow default"}, {"bytes=1024 script=?", "deny big"}, {"bytes=0 script=?", "deny empty"},
	}},
	{"night deny hours=22:00-06:00 zone=Europe/Berlin", [][2]string{
		{"time=2024-07-01T19:59:00Z script=?", "allow default"}, // 21:59 in summer
		{"time=2024-07-01T20:00:00Z script=?", "deny night"},
		{"time=2024-01-01T20:00:00Z script=?", "allow default"}, // 21:00 in winter
		{"time=2024-01-01T04:59:59Z script=?", "deny night"},
		{"time=2024-01-01T05:00:00Z script=?", "allow default"},
	}},
	{"weekend deny hours=Sat,Sun\n friday deny hours=Fri_22:00-06:00", [][2]string{
		{"time=2024-05-18T00:00:00Z script=?", "deny weekend"}, // a Saturday
		{"time=2024-05-17T21:59:00Z script=?", "allow default"},
		{"time=2024-05-17T22:00:00Z script=?", "deny friday"},
		{"time=2024-05-20T00:00:00Z script=?", "allow default"},
	}},
	{"config deny commands=CONFIG\n keys deny users=app commands=keys,FLUSH*", [][2]string{
		{"command=config|get", "deny config"}, {"command=CONFIG", "deny config"}, {"command=config|nosuch", "deny config"},
		{"command=KEYS", "deny keys"}, {"user=ops command=KEYS", "allow default"}, {"command=flushall", "deny keys"},
		{"command=flushdb", "deny keys"}, {"command=GET", "allow default"}, {"script=wipe@v1", "allow default"},
	}},
	{"one deny commands=CONFIG|SET\n bare deny commands=CONFIG|", [][2]string{
		{"command=config|set", "deny one"}, {"command=config|get", "allow default"}, {"command=config", "deny bare"},
	}},
	{"modules deny commands=json.*,@dangerous", [][2]string{
		{"command=JSON.DEL", "deny modules"}, {"command=config|set", "deny modules"}, {"command=ft.search", "allow default"},
	}},
	{"trial audit uses=@dangerous\n known allow registered=true\n rest deny", [][2]string{
		{"script=wipe@v1", "audit trial"}, {"script=transfer@v1", "allow known"},
		{"script=? uses=flushall", "deny rest"}, // an audit never saves a call from a denial
	}},
	{"slow route=replica deadline=5s tags=slow\n all deadline=100ms priority=high\n money allow tags=money deadline=1s priority=low", [][2]string{
		{"script=report/daily@v1", "allow default route=replica deadline=5s priority=high"},
		{"script=transfer@v1", "allow money deadline=100ms priority=high"},
		{"script=?", "allow default deadline=100ms priority=high"},
	}},
	{"pin allow users=canary scripts=transfer version=v2\n after route=primary", [][2]string{
		{"user=canary script=transfer@v1", "allow pin version=v2"}, // what comes after the decision sets nothing
		{"user=app script=transfer@v1", "allow default route=primary"},
	}},
	{"limits concurrent=2 rate=script:10/s\n mine rate=user:5/s,script:1/s concurrent=1\n no deny scripts=wipe", [][2]string{
		{"script=transfer@v1", "allow default gate=limits script-rate=limits user-rate=mine"},
		{"script=wipe@v1", "deny no"},
	}},
	{"mode=off\n all deny\n every deny commands=*", [][2]string{
		{"script=?", "allow default"}, {"command=GET", "allow default"},
	}},
	{"mode=audit\n fast deadline=1ms route=replica concurrent=1\n all deny registered=false", [][2]string{
		{"script=?", "audit all"}, {"script=wipe@v1", "allow default gate=fast"},
	}},
	{"mode=audit\n default=deny", [][2]string{{"script=?", "audit default"}}},
}

func TestVerdicts(t *testing.T) {
	for _, table := range decideTable {
		s := compile(t, table.rules)
		for _, call := range table.calls {
			t.Run(fmt.Sprintf("%s/%s", strings.Fields(table.rules + " none")[0], call[0]), func(t *testing.T) {
				q := parseQuery(t, call[0], &s.catalog)
				if got := describe(s, s.Decide(requestFor(s, q))); got != call[1] {
					t.Errorf("rules:\n%s\ncall %s: got %s, want %s", table.rules, call[0], got, call[1])
				}
			})
		}
	}
}

func TestEveryAttributeIsTakenFromTheFirstRuleThatSetsIt(t *testing.T) {
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("r%d deadline=%dms users=u%d", i, i+1, i%100))
	}
	s := compile(t, strings.Join(lines, "\n"))
	for i := range 100 {
		v := s.Decide(requestFor(s, parseQuery(t, fmt.Sprintf("user=u%d script=?", i), &s.catalog)))
		if want := time.Duration(i+1) * time.Millisecond; v.Deadline != want {
			t.Errorf("user u%d: deadline %v, want %v", i, v.Deadline, want)
		}
	}
}

func TestDenialsSayWhichRuleAndWhy(t *testing.T) {
	s := compile(t, "default=deny\n no-wipe deny scripts=wipe message=use_UNLINK\n plain deny scripts=transfer")
	for call, want := range map[string]string{
		"script=wipe@v1":         "DENIED script 'wipe' version v1: rule 'no-wipe': use UNLINK",
		"script=transfer@v1":     "DENIED script 'transfer' version v1: rule 'plain'",
		"script=report/daily@v1": "DENIED script 'report/daily' version v1: no rule allows it, and the default is deny",
	} {
		q := parseQuery(t, call, &s.catalog)
		v := s.Decide(requestFor(s, q))
		if got := string(AppendDenied(nil, "script", q.Script.Name, q.Script.Version, v.Reason)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	hostile := AppendDenied(nil, "command", "a\r\n+OK"+strings.Repeat("x", 1000), "", "no")
	if strings.ContainsAny(string(hostile), "\r\n") || len(hostile) > 200 {
		t.Errorf("a client's bytes get into the reply: %q", hostile)
	}
}

func TestHandlesOfAnotherSetAreComputedAnew(t *testing.T) {
	old := compile(t, "nothing deny users=nobody commands=set")
	s := compile(t, "first audit users=x\n second deny users=app networks=10.0.0.0/8 hours=00:00-24:00\n third deny commands=get")
	r := requestFor(old, parseQuery(t, "user=app script=?", &old.catalog))
	if got := describe(s, s.Decide(r)); got != "deny second" {
		t.Errorf("stale handles of a script call: %s", got)
	}
	r = requestFor(old, parseQuery(t, "user=app command=GET", &old.catalog))
	if got := describe(s, s.Decide(r)); got != "deny third" {
		t.Errorf("stale handles of a command: %s", got)
	}
	bare := &Request{User: "app", Addr: netip.MustParseAddr("10.1.1.1"), Script: Unregistered}
	if got := describe(s, s.Decide(bare)); got != "deny second" {
		t.Errorf("no handles: %s", got)
	}
}

func TestClientsThatNoRuleTellsApartShareASession(t *testing.T) {
	s := compile(t, "a deny users=app networks=10.0.0.0/8")
	one := s.Session("app", netip.MustParseAddr("10.0.0.1"), 0)
	two := s.Session("app", netip.MustParseAddr("10.200.0.1"), 0)
	if one != two {
		t.Error("two addresses of the same network have two sessions")
	}
	if other := s.Session("app", netip.MustParseAddr("11.0.0.1"), 0); other == one {
		t.Error("addresses inside and outside of the network share a session")
	}
}

func TestCommandsThatNoRuleMatchesNeedNotBeAsked(t *testing.T) {
	s := compile(t, "a deny users=app commands=config")
	for name, want := range map[string]bool{"get": false, "config": true, "nosuch": false} {
		if got := s.Asks(s.Command(name, "")); got != want {
			t.Errorf("%s: asks %v, want %v", name, got, want)
		}
	}
	if !s.Asks(s.Command("CONFIG", "set")) {
		t.Error("a subcommand of a denied command is not asked for")
	}
	if s := compile(t, "default-commands=deny"); !s.Asks(s.Command("get", "")) {
		t.Error("with deny as the default, a command is not asked for")
	}
	if s := compile(t, "mode=off\ndefault-commands=deny"); s.Asks(s.Command("get", "")) {
		t.Error("a policy that is off asks")
	}
}

func TestStrangeCommandsAreDecidedButNotRememberedWithoutBound(t *testing.T) {
	s := compile(t, "a deny commands=x*")
	for i := range 3 * maxUnknownCommands {
		if got := describe(s, s.Decide(&Request{Command: s.Command(fmt.Sprintf("x%d", i), "")})); got != "deny a" {
			t.Fatalf("x%d: %s", i, got)
		}
	}
	if len(s.commands) > s.knownCommands+maxUnknownCommands {
		t.Errorf("%d commands are remembered", len(s.commands))
	}
}

func TestUsersBeyondTheBoundAreDecidedRight(t *testing.T) {
	s := compile(t, "limit rate=user:1/s\n a deny users=*7")
	for i := range maxUsers + 100 {
		name := fmt.Sprintf("u%d", i)
		s.Session(name, netip.Addr{}, 0)
	}
	for name, want := range map[string]string{"new7": "deny a", "new8": "allow default user-rate=limit"} {
		if got := describe(s, s.Decide(&Request{User: name, Script: Unregistered})); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
