package policy

import (
	"fmt"
	"strings"
	"testing"
)

func TestMistakesAreReportedWithRuleAndLine(t *testing.T) {
	for _, c := range []struct{ rules, want string }{
		{"a deny networks=10.0.0/8", "rules:1: rule 'a': bad network '10.0.0/8': use a form such as 10.0.0.0/8, 2001:db8::/32, 10.1.2.3 or unix"},
		{"a deny networks=10.0.0.1/8", "rules:1: rule 'a': bad network '10.0.0.1/8': it has bits set beyond its length; did you mean 10.0.0.0/8?"},
		{"a deny networks=fe80::1%eth0", "rules:1: rule 'a': bad network 'fe80::1%eth0': use a form such as 10.0.0.0/8, 2001:db8::/32, 10.1.2.3 or unix"},
		{"a deny networks=::ffff:0:0/90", "rules:1: rule 'a': bad network '::ffff:0:0/90': it mixes IPv4 and IPv6; write the IPv4 network as 10.0.0.0/8"},
		{"a deny hours=25:00-26:00", "rules:1: rule 'a': bad hours '25:00-26:00': times must be HH:MM-HH:MM, from 00:00 to 24:00; use a form such as 22:00-06:00, Mon-Fri 09:00-17:00 or Sat,Sun"},
		{"a deny hours=Mo_10:00-11:00", "rules:1: rule 'a': bad hours 'Mo 10:00-11:00': 'Mo' is no day: use Mon, Tue, Wed, Thu, Fri, Sat, Sun; use a form such as 22:00-06:00, Mon-Fri 09:00-17:00 or Sat,Sun"},
		{"a deny hours=10:00-10:00", "rules:1: rule 'a': bad hours '10:00-10:00': it starts when it ends; use a form such as 22:00-06:00, Mon-Fri 09:00-17:00 or Sat,Sun"},
		{"a deny hours=10:00-11:00_Mon", "rules:1: rule 'a': bad hours '10:00-11:00 Mon': days come first; use a form such as 22:00-06:00, Mon-Fri 09:00-17:00 or Sat,Sun"},
		{"a deny hours=10:00-11:00 zone=Berlin", "rules:1: rule 'a': unknown time zone 'Berlin': use a name such as Europe/Berlin or UTC"},
		{"a deny zone=UTC", "rules:1: rule 'a': zone without hours"},
		{"a deny keys=3-2", "rules:1: rule 'a': it can never match: min_keys 3 is above max_keys 2"},
		{"a deny bytes=10-9", "rules:1: rule 'a': it can never match: min_arg_bytes 10 is above max_arg_bytes 9"},
		{"a deny classes=reed", "rules:1: rule 'a': unknown class 'reed': use read, write, admin or script"},
		{"a deny listeners=back", "rules:1: rule 'a': unknown listener 'back': there is 'front' and 'ops'"},
		{"a deny shas=12ab", "rules:1: rule 'a': bad sha '12ab': it must be 40 hexadecimal digits"},
		{"a deny uses=flushal", "rules:1: rule 'a': unknown command FLUSHAL"},
		{"a deny commands=config|sett", "rules:1: rule 'a': the command CONFIG has no subcommand SETT"},
		{"a deny commands=@danger", "rules:1: rule 'a': unknown command category '@danger'"},
		{"a deny commands=EVAL", "rules:1: rule 'a': EVAL is a script call, which rules with commands are not about: leave out commands, and use scripts, functions, shas or registered"},
		{"a deny findings=slow-comand", "rules:1: rule 'a': unknown lint rule 'slow-comand' (did you mean 'slow-command'?); a level (error, warning, note) can be given too"},
		{"a deny users=app,,ops", "rules:1: rule 'a': users has an empty entry"},
		{"a deny commands=get scripts=transfer", "rules:1: rule 'a': it can never match: commands is about plain commands, and scripts about scripts; make two rules of it"},
		{"a deny registered=false tags=money", "rules:1: rule 'a': it can never match: only registered scripts have names and tags, and registered is false"},
		{"a deny scripts=transfer shas=" + shaWipe, "rules:1: rule 'a': it can never match: the sha " + shaWipe + " is that of script 'wipe' version v1, which scripts does not name"},
		{"a", "rules:1: rule 'a': it does nothing: give it an action (allow, deny, audit) or an attribute (route, deadline, max_concurrent, rate, priority, version)"},
		{"a deny deadline=1s", "rules:1: rule 'a': it contradicts itself: the action is deny, which leaves no use for deadline; make two rules of it"},
		{"a audit route=replica", "rules:1: rule 'a': it contradicts itself: the action is audit, which leaves no use for route; make two rules of it"},
		{"a allow message=hello", "rules:1: rule 'a': message is for the actions deny and audit"},
		{"a allow route=replica classes=write", "rules:1: rule 'a': it contradicts itself: route is replica, and classes leaves no reads"},
		{"a allow deadline=-1s", "rules:1: rule 'a': deadline is negative"},
		{"a allow concurrent=-1", "rules:1: rule 'a': max_concurrent is negative; to deny calls, use action: deny"},
		{"a allow rate=user:1/s,user:2/s", "rules:1: rule 'a': there are two rates per user"},
		{"a allow rate=user:1/s:-1", "rules:1: rule 'a': burst is negative"},
		{"a allow scripts=transfer version=v9", "rules:1: rule 'a': script 'transfer' has no version v9: there is 'v1' and 'v2'"},
		{"a allow commands=get version=v1", "rules:1: rule 'a': it contradicts itself: version is about scripts, and the rule about plain commands"},
		{"a allow registered=false version=v1", "rules:1: rule 'a': it contradicts itself: version is about registered scripts, and registered is false"},
		{"a deny users=x\n a deny users=y", "rules:2: rule 'a': there is another rule of this name in line 1"},
		{"it's deny", "rules:1: rule 'it's': the name has quotes or control characters"},
		{"default=audit", "rules: default is audit: use allow or deny, and mode: audit to try it out"},
		{"all deny\n a allow users=x", "rules:2: rule 'a': it can never match: rule 'all' in line 1 already decides every call that it describes; put it before that rule or remove it"},
	} {
		t.Run(c.rules, func(t *testing.T) {
			s, err := Compile(parseSpec(t, c.rules), testCatalog())
			if err == nil || s != nil {
				t.Fatal("it is accepted")
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	_, err := Compile(parseSpec(t, "a deny networks=x,y users=\n b allow classes=z\n c"), testCatalog())
	if n := strings.Count(fmt.Sprint(err), "\n") + 1; n != 5 {
		t.Errorf("%d problems, want 5:\n%v", n, err)
	}
}

func TestAProblemIsReportedAtTheLineOfItsField(t *testing.T) {
	spec := Spec{File: "p.yaml", Rules: []Rule{{Name: "a", Action: Deny, Line: 3,
		Match: Match{Networks: []string{"10.0.0.0/8", "x"}, Hours: []string{"y"}, Classes: []string{"z"}},
		Lines: map[string]int{"networks": 5, "networks[1]": 7, "hours": 9}}}}
	_, err := Compile(spec, Catalog{})
	var got []string
	for _, p := range err.(Problems) {
		got = append(got, fmt.Sprintf("%s:%d", p.File, p.Line))
	}
	if want := "p.yaml:3 p.yaml:7 p.yaml:9"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestRulesThatCanNeverMatchAreFound(t *testing.T) {
	for _, c := range []struct {
		rules    string
		shadowed bool
	}{
		{"a deny users=app\n b allow users=app scripts=transfer", true},
		{"a deny users=app scripts=transfer\n b allow users=app", false},
		{"a deny users=app*\n b allow users=app-1,app", true},
		{"a deny users=app*\n b allow users=app-1,ops", false},
		{"a deny users=*\n b allow", true},
		{"a deny users=app\n b allow users=*", false},
		{"a audit\n b deny", false},
		{"a deadline=1s\n b deny", false},
		{"a deny\n b deadline=1s users=x", true},
		{"a deny\n b audit users=x", true},
		{"a deny networks=10.0.0.0/8\n b allow networks=10.1.0.0/16,10.2.2.2", true},
		{"a deny networks=10.1.0.0/16\n b allow networks=10.0.0.0/8", false},
		{"a deny networks=10.0.0.0/8\n b allow networks=10.1.0.0/16,unix", false},
		{"a deny networks=0.0.0.0/0\n b allow networks=::/0", false},
		{"a deny registered=true\n b allow scripts=transfer", true},
		{"a deny registered=true\n b allow tags=money", true},
		{"a deny scripts=transfer\n b allow scripts=transfer@v1", true},
		{"a deny scripts=transfer@v1\n b allow scripts=transfer", false},
		{"a deny scripts=transfer@*\n b allow scripts=transfer@v1", true},
		{"a deny scripts=*\n b allow registered=true", false},
		{"a deny\n b allow commands=get", false},
		{"a deny commands=*\n b allow users=x", false},
		{"a deny commands=config\n b allow commands=config|get,config|", true},
		{"a deny commands=config|*\n b allow commands=config", false},
		{"a deny commands=@all\n b allow commands=get", true},
		{"a deny classes=read,write\n b allow classes=write", true},
		{"a deny classes=read\n b allow", false},
		{"a deny classes=read,write,admin,script\n b allow", true},
		{"a deny keys=-10\n b allow keys=2-5", true},
		{"a deny keys=3-10\n b allow keys=2-5", false},
		{"a deny findings=note\n b allow findings=error", true},
		{"a deny findings=error\n b allow findings=note", false},
		{"a deny findings=error\n b allow findings=slow-command", false}, // a finding's level may differ from its rule's
		{"a deny findings=note\n b allow findings=slow-command", true},
		{"a deny findings=error,slow-command\n b allow findings=slow-command", true},
		{"a deny hours=08:00-18:00\n b allow hours=Mon_09:00-10:00", true},
		{"a deny hours=08:00-18:00\n b allow hours=17:00-19:00", false},
		{"a deny hours=08:00-18:00\n b allow hours=09:00-10:00 zone=Europe/Berlin", false},
		{"a deny uses=flushall,keys\n b allow uses=keys", true},
	} {
		_, err := Compile(parseSpec(t, c.rules), testCatalog())
		if got := err != nil && strings.Contains(err.Error(), "rule 'b': it can never match: rule 'a' in line 1"); got != c.shadowed || err != nil && !got {
			t.Errorf("%q: shadowed %v, want %v (%v)", c.rules, got, c.shadowed, err)
		}
	}
}

func TestNamesThatAreNotRegisteredAreWarnedOf(t *testing.T) {
	s := compile(t, "a deny scripts=transfer,tranfer,x*,transfer@v3")
	if got, want := s.Warnings().Error(), "rules:1: rule 'a': no script 'tranfer' is registered; the rule takes effect when it is\n"+
		"rules:1: rule 'a': no script 'transfer@v3' is registered; the rule takes effect when it is"; got != want {
		t.Errorf("got:\n%s", got)
	}
}

func TestWithoutACatalogNamesAreTakenAsTheyAre(t *testing.T) {
	spec := parseSpec(t, "a deny commands=nosuch,config|sett,@nosuch users=x\n b deny findings=nosuch listeners=nosuch\n c deny uses=x")
	if _, err := Compile(spec, Catalog{}); err == nil || !strings.Contains(err.Error(), "@nosuch") {
		// Without commands there are no categories either, and a category that matches nothing is a wall with a hole.
		t.Errorf("a category that nobody knows is accepted: %v", err)
	}
	spec.Rules[0].Match.Commands = spec.Rules[0].Match.Commands[:2]
	s, err := Compile(spec, Catalog{})
	if err != nil {
		t.Fatal(err)
	}
	if v := s.Decide(&Request{User: "x", Command: s.Command("CONFIG", "SETT")}); v.Action != Deny {
		t.Errorf("%v", v)
	}
}

func TestTextsAreReadStrictly(t *testing.T) {
	for text, want := range map[string]float64{"10/s": 10, "600/m": 10, "0.5/s": .5, "3600/h": 1, "1000000/s": 1e6} {
		if got, err := ParseLimit(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "10", "/s", "0/s", "-1/s", "NaN/s", "Inf/s", "1e7/s", "10/d", "ten/s"} {
		if got, err := ParseLimit(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
	for _, text := range []string{"", "Off", "on"} {
		if m, err := ParseMode(text); err == nil {
			t.Errorf("mode %q is read as %v", text, m)
		}
	}
	if a, err := ParseAction("continue"); err == nil {
		t.Errorf("action continue is read as %v", a)
	}
	for rate, want := range map[Rate]string{{Limit: 10}: "10/s per script", {Per: PerUser, Limit: 0.5}: "30/m per user",
		{Limit: 1.0 / 3600}: "1/h per script", {Limit: 0.123456}: "0.123456/s per script"} {
		if got := rate.String(); got != want {
			t.Errorf("%v: %s, want %s", rate, got, want)
		}
		if back, err := ParseLimit(rate.LimitText()); err != nil || back-rate.Limit > 1e-9 {
			t.Errorf("%s is read back as %v, %v", rate.LimitText(), back, err)
		}
	}
}

func TestManyWildcardsDoNotExplode(t *testing.T) {
	if glob(strings.Repeat("a*", 5000) + "b").match(strings.Repeat("a", 10000)) {
		t.Error("it matches")
	}
}
