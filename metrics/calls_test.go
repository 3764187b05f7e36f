package metrics

import (
	"maps"
	"testing"
	"time"
)

func TestCallsOfAVersionAreSummedOverRoutesAndOutcomes(t *testing.T) {
	m := New(Options{MaxScripts: 2, HandOverWait: time.Nanosecond})
	s := m.NewShard()
	v1, v2, late := m.Script("a", "v1"), m.Script("a", "v2"), m.Script("b", "v1")
	s.ScriptCall(v1, RoutePrimary, OutcomeOK, time.Millisecond, false)
	s.ScriptCall(v1, RouteReplica, OutcomeError, time.Millisecond, true)
	s.ScriptCall(v1, RouteLocal, OutcomeDenied, -1, false)
	s.ScriptCall(v2, RoutePrimary, OutcomeOK, time.Millisecond, false)
	s.ScriptCall(late, RoutePrimary, OutcomeOK, time.Millisecond, false) // past MaxScripts
	s.ScriptCall(0, RoutePrimary, OutcomeOK, time.Millisecond, false)
	s.Close()
	want := map[ScriptVersion]uint64{{"a", "v1"}: 3, {"a", "v2"}: 1}
	if got := m.Calls(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
