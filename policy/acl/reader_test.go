package acl

import (
	"testing"

	"github.com/scriptproxy/scriptproxy/policy"
)

func TestAReaderTellsWhatAUserMayRun(t *testing.T) {
	r := NewReader([]policy.Command{
		{Name: "get", Categories: []string{"read"}}, {Name: "eval", Categories: []string{"scripting"}},
		{Name: "script", Categories: []string{"scripting"}}, {Name: "script|load", Categories: []string{"scripting"}},
	})
	on := func(rules string, selectors ...string) State {
		return State{Name: "u", Exists: true, On: true, Commands: rules, Selectors: selectors}
	}
	for _, c := range []struct {
		state   State
		command string
		want    bool
	}{
		{on("+@all"), "eval", true},
		{on("+@all -@scripting"), "eval", false},
		{on("+@all -@scripting"), "get", true},
		{on("-@all +script|load"), "script|load", true},
		{on("-@all", "-@all +eval"), "eval", true},
		{State{Name: "u", Exists: true, Commands: "+@all"}, "eval", false},
		{State{Name: "u"}, "get", false},
	} {
		if got, err := r.Permits(c.state, c.command); err != nil || got != c.want {
			t.Errorf("%+v may run %s: %v, %v; want %v", c.state, c.command, got, err, c.want)
		}
	}
	if _, err := r.Permits(on("what"), "get"); err == nil {
		t.Error("rules that no server has are read without an error")
	}
}
