package statefile_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/statefile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var when = time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)

func version(id, body string) *registry.Version {
	return &registry.Version{ID: id, SHA: registry.SHA([]byte(body)), Body: []byte(body), Class: registry.ClassWrite, CreatedAt: when}
}

// example uses every field that the format has to carry.
func example() *statefile.State {
	full := version("v1", "return 'not \xff UTF-8'")
	full.ClassSet, full.Pinned, full.DeclaredPinned, full.Retired, full.Declared = true, true, true, true, true
	full.RetiredAnswer, full.CreatedBy, full.ActivatedAt, full.Why = registry.AnswerDenied, "alice", when, "because\n\"quoted\""
	full.Flags, full.Functions = []string{"no-writes"}, []string{"f"}
	full.Contract = registry.Contract{MinKeys: 1, MinArgs: 2, VariableKeys: true, VariableArgs: true}
	full.Findings = []registry.Finding{{Rule: "r", Level: "warning", Line: 3, Message: "m"}}
	scripts := []*registry.Script{
		{Name: "pay", Tags: []string{"money"}, Versions: []*registry.Version{full, version("v2", "return 2"), version("v3", "return 3")}, Active: "v2", Previous: "v1",
			RolledBack: true, DeclaredActive: "v1", Override: true, Revision: 7, ChangedBy: "bob", ChangedAt: when, LastAction: "rollback", Why: "bad",
			Canary: &registry.Canary{Version: "v3", Percent: 12.34, Sticky: registry.StickyClient, Salt: "v3", Seed: 1<<64 - 1, Since: when, By: "bob"}},
		{Name: "twin", Kind: registry.KindFunction, Versions: []*registry.Version{version("v1", "return 2")}, ChangedAt: when},
	}
	return &statefile.State{
		Origin:   "redis here",
		Snapshot: registry.NewSnapshot(7, "token", when, scripts),
		Audit: []registry.Change{{Revision: 6, At: when, Who: "alice", Action: "load", Name: "pay", To: "v1"},
			{Revision: 7, At: when, Who: "bob", Action: "rollback", Name: "pay", From: "v3", To: "v2", Why: "bad", Note: "n", Forced: true, Instance: "p1"}},
	}
}

func encode(t testing.TB, s *statefile.State) []byte {
	t.Helper()
	data, err := new(statefile.Encoder).Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAStateIsReadAsItWasWritten(t *testing.T) {
	want := example()
	got, err := statefile.Decode(encode(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if got.Origin != want.Origin || !reflect.DeepEqual(got.Audit, want.Audit) {
		t.Errorf("audit is %+v, want %+v", got.Audit, want.Audit)
	}
	if got.Snapshot.Revision != 7 || got.Snapshot.Token != "token" || !got.Snapshot.At.Equal(when) {
		t.Errorf("the head is %+v", got.Snapshot)
	}
	if !reflect.DeepEqual(got.Snapshot.Scripts, want.Snapshot.Scripts) {
		t.Errorf("the scripts differ")
	}
}

// The example must keep up with the types, so that the test above does.
func TestTheExampleUsesEveryField(t *testing.T) {
	s := example()
	for _, v := range []any{*s.Snapshot.Scripts[0], *s.Snapshot.Scripts[0].Versions[0], *s.Snapshot.Scripts[0].Canary, s.Audit[1]} {
		value := reflect.ValueOf(v)
		for i := range value.NumField() {
			if name := value.Type().Field(i).Name; value.Field(i).IsZero() && name != "Kind" {
				t.Errorf("%T.%s is zero in the example", v, name)
			}
		}
	}
}

func TestAnEncoderWritesTheSameAfterAChangeAsAFreshOne(t *testing.T) {
	var e statefile.Encoder
	s := example()
	if _, err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	changed := *s.Snapshot.Scripts[0]
	changed.Active = "v3"
	s.Snapshot = registry.NewSnapshot(8, "other", when, []*registry.Script{&changed, s.Snapshot.Scripts[1]})
	got, err := e.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, encode(t, s)) {
		t.Error("the encoder remembered a script that changed")
	}
}

func TestEveryTornFileIsRefused(t *testing.T) {
	data := encode(t, example())
	for n := range len(data) {
		if _, err := statefile.Decode(data[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are accepted", n, len(data))
		}
	}
	if _, err := statefile.Decode(append(bytes.Clone(data), '\n')); err == nil {
		t.Error("a byte behind the end is accepted")
	}
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	data := encode(t, example())
	random := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		damaged := bytes.Clone(data)
		damaged[i] ^= 1 << random.IntN(8)
		if _, err := statefile.Decode(damaged); err == nil {
			t.Fatalf("byte %d may be %q instead of %q", i, damaged[i], data[i])
		}
	}
}

func TestWhatIsRefusedSaysWhy(t *testing.T) {
	data := string(encode(t, example()))
	_, payload, _ := strings.Cut(data, "\n")
	for _, c := range []struct{ what, file, say string }{
		{"nothing", "", "it is empty"},
		{"another program's", "registry:\n  store: file\n", "not a state file of scriptproxy"},
		{"half a first line", data[:30], "first line is damaged"},
		{"torn", data[:len(data)-10], "torn"},
		{"edited", strings.Replace(data, `"alice"`, `"mally"`, 1), "damaged or edited"},
		{"of the future", strings.Replace(data, "scriptproxy-state 1", "scriptproxy-state 2", 1), "another release"},
		{"with an unknown field", seal(strings.Replace(payload, `"revision":7`, `"revision":7,"new":1`, 1)), "unknown field"},
		{"with a pointer to nowhere", seal(strings.Replace(payload, `"active":"v2"`, `"active":"v9"`, 1)), `active version "v9" does not exist`},
		{"with a bad name", seal(strings.Replace(payload, `"name":"pay"`, `"name":"p@y"`, 1)), "not allowed"},
		{"with a body too few", seal(strings.Replace(payload, registry.SHA([]byte("return 3")), registry.SHA([]byte("x")), 1)), "without a body"},
		{"with another body", seal(strings.ReplaceAll(payload, registry.SHA([]byte("return 3")), registry.SHA([]byte("x")))), "its body has"},
		{"with lines too few", seal(strings.Replace(payload, `"audit":2`, `"audit":3`, 1)), "ends where"},
		{"with lines too many", seal(strings.Replace(payload, `"audit":2`, `"audit":1`, 1)), "behind what its head announces"},
		{"with numbers below zero", seal(strings.Replace(payload, `"audit":2`, `"audit":-2`, 1)), "negative"},
	} {
		_, err := statefile.Decode([]byte(c.file))
		if err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("a file %s: got %v, want it to say %q", c.what, err, c.say)
		}
	}
}

func TestReplaceLeavesTheOldFileWhenItFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := statefile.Replace(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := statefile.Replace(path, []byte("new")); err == nil {
		t.Fatal("no error, although the temporary file can't be made")
	}
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Errorf("the file holds %q", got)
	}
	if err := os.Remove(path + ".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := statefile.Replace(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if got, _ := os.ReadFile(path); string(got) != "new" || err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file holds %q with mode %v", got, info.Mode())
	}
	if _, err := os.Stat(path + ".tmp"); err == nil {
		t.Error("the temporary file is left")
	}
}

func BenchmarkEncodeAfterOneActivation(b *testing.B) {
	var scripts []*registry.Script
	for i := range 10_000 {
		text := fmt.Sprintf("local v = %d\n%s", i, strings.Repeat("redis.call('SET', KEYS[1], ARGV[1])\n", 14))
		scripts = append(scripts, &registry.Script{Name: fmt.Sprint("script", i), Active: "v1", Versions: []*registry.Version{version("v1", text)}, ChangedAt: when})
	}
	var e statefile.Encoder
	s := &statefile.State{Snapshot: registry.NewSnapshot(1, "t", when, scripts)}
	size := 0
	for b.Loop() {
		changed := *s.Snapshot.Scripts[0]
		changed.Revision++
		s.Snapshot = registry.NewSnapshot(2, "t", when, append([]*registry.Script{&changed}, s.Snapshot.Scripts[1:]...))
		data, err := e.Encode(s)
		if err != nil {
			b.Fatal(err)
		}
		size = len(data)
	}
	b.ReportMetric(float64(size), "bytes")
}
