package command

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// The golden file shows in review what a change of the rule, or of the table, does to every command.
func TestTreatmentOfEveryEmbeddedCommandIsAsReviewed(t *testing.T) {
	const golden = "testdata/treatment.golden"
	var got strings.Builder
	for c := range Embedded().All() {
		fmt.Fprintf(&got, "%s %s", strings.ToLower(c.Name), c.Class)
		if c.ReplicaOK() {
			got.WriteString(" replica")
		}
		if c.Blocks {
			got.WriteString(" blocks")
		}
		if c.Op != OpNone {
			got.WriteString(" special")
		}
		got.WriteByte('\n')
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
	for _, line := range missing(wantLines, gotLines) {
		t.Errorf("reviewed, but no longer so: %s", line)
	}
	for _, line := range missing(gotLines, wantLines) {
		t.Errorf("not reviewed: %s (after review, run go test -update)", line)
	}
}

// missing returns the lines of a that are not in b.
func missing(a, b []string) []string {
	in := map[string]bool{}
	for _, line := range b {
		in[line] = true
	}
	var out []string
	for _, line := range a {
		if !in[line] {
			out = append(out, line)
		}
	}
	return out
}

func TestClassesFollowTheDocumentedRule(t *testing.T) {
	for class, names := range map[Class]string{
		ClassScript: "EVAL EVAL_RO EVALSHA EVALSHA_RO FCALL FCALL_RO SCRIPT SCRIPT|LOAD SCRIPT|KILL SCRIPT|SHOW FUNCTION FUNCTION|LOAD FUNCTION|STATS",
		ClassWrite: "SET GETEX SORT GEORADIUS FLUSHALL MIGRATE PFDEBUG XREADGROUP XGROUP XGROUP|CREATE PUBLISH SPUBLISH WAIT WAITAOF " +
			"MULTI EXEC DISCARD WATCH UNWATCH HEXPIRE HSETEX VADD MSETEX DELIFEQ CLUSTER|FLUSHSLOT",
		ClassRead: "GET KEYS SORT_RO SCAN PFCOUNT XREAD OBJECT|ENCODING MEMORY|USAGE XINFO|STREAM PING ECHO TIME AUTH HELLO SELECT " +
			"RESET QUIT CLIENT|ID CLIENT|SETNAME CLIENT|TRACKING COMMAND COMMAND|DOCS ACL|WHOAMI CLUSTER|SLOTS SUBSCRIBE SSUBSCRIBE " +
			"PUBSUB|NUMSUB ASKING READONLY READWRITE CONFIG|HELP LOLWUT HTTL VSIM DIGEST MEMORY|STATS",
		ClassAdmin: "CONFIG CONFIG|SET CLIENT CLIENT|KILL CLIENT|LIST CLUSTER|FAILOVER DEBUG MONITOR SHUTDOWN SYNC PSYNC REPLCONF REPLICAOF " +
			"INFO ROLE LASTSAVE SAVE ACL|SETUSER MODULE|LOAD SLOWLOG|GET LATENCY|RESET MEMORY|PURGE FAILOVER COMMANDLOG|GET",
	} {
		for name := range strings.FieldsSeq(names) {
			if got := Embedded().LookupString(name); got == nil || got.Class != class {
				t.Errorf("%s: got %+v, want class %s", name, got, class)
			}
		}
	}
}

func TestCommandsTheEmbeddedTableDoesNotKnowAreClassedByTheServersReport(t *testing.T) {
	for _, test := range []struct {
		line string
		want Class
	}{
		{"x.read -2 readonly,module - - -", ClassRead},
		{"x.write -2 write,module - - -", ClassWrite},
		{"x.both -2 write,readonly,module - - -", ClassWrite},
		{"x.silent -2 module connection - -", ClassWrite},
		{"x.admin -2 admin,module - - -", ClassAdmin},
		{"x.danger -2 module dangerous - -", ClassAdmin},
		{"newcommand -2 - slow - -", ClassWrite},
		{"newconnection -2 - connection - -", ClassRead},
		{"newdangerous -2 - dangerous - -", ClassAdmin},
		{"help 2 - slow - -", ClassWrite},
	} {
		c, err := parseLine(test.line)
		if err != nil {
			t.Fatal(err)
		}
		c.finish(OpNone)
		if c.Class != test.want {
			t.Errorf("%s: class %s, want %s", test.line, c.Class, test.want)
		}
	}
}

func TestReadsOfTheNodesOwnStateStayOnOneNode(t *testing.T) {
	for name := range strings.FieldsSeq("SCAN HSCAN SSCAN ZSCAN TOUCH OBJECT|FREQ OBJECT|IDLETIME MEMORY|USAGE PING TIME PUBSUB|CHANNELS " +
		"SUBSCRIBE EVAL_RO EVALSHA_RO FCALL_RO SET INFO WATCH") {
		if Embedded().LookupString(name).ReplicaOK() {
			t.Errorf("%s may go to a replica", name)
		}
	}
	for name := range strings.FieldsSeq("GET MGET EXISTS KEYS DBSIZE RANDOMKEY SORT_RO XREAD XINFO|STREAM OBJECT|ENCODING PFCOUNT HTTL LOLWUT") {
		if !Embedded().LookupString(name).ReplicaOK() {
			t.Errorf("%s may not go to a replica", name)
		}
	}
}

func TestClassNamesAreThoseOfConfigurationAndMetrics(t *testing.T) {
	for class, want := range map[Class]string{ClassRead: "read", ClassWrite: "write", ClassAdmin: "admin", ClassScript: "script"} {
		if class.String() != want {
			t.Errorf("class %d is called %q, want %q", class, class, want)
		}
	}
}
