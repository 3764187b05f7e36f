package command

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// recorded returns a server's reply to COMMAND from testdata, which was recorded from that very version.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestReportsOfOtherServersAreRead(t *testing.T) {
	for file, wantCount := range map[string]int{"redis-6.0.16.resp2": 203, "redis-8.0.2.resp2": 265, "valkey-8.1.1.resp3": 242} {
		table, err := Parse(recorded(t, file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if got := len(table.topLevel()); got != wantCount {
			t.Errorf("%s: %d top-level commands, want %d", file, got, wantCount)
		}
		for their := range table.All() {
			our := Embedded().LookupString(their.Name)
			if our == nil {
				t.Errorf("%s: the embedded table does not have %s", file, their.Name)
				continue
			}
			if our.Class != their.Class || our.Op != their.Op || our.Blocks != their.Blocks || our.ReplicaOK() != their.ReplicaOK() {
				t.Errorf("%s: %s is treated as %s, blocking %v, replica %v; embedded: %s, %v, %v", file, their.Name,
					their.Class, their.Blocks, their.ReplicaOK(), our.Class, our.Blocks, our.ReplicaOK())
			}
			if !slices.Equal(our.KeySpecs, their.KeySpecs) && their.Name != "SINTERSTORE" { // RW before Redis 7.2, OW since
				t.Errorf("%s: %s has key specs %v, embedded: %v", file, their.Name, their.KeySpecs, our.KeySpecs)
			}
		}
	}
}

func TestReportInRESP3SaysTheSame(t *testing.T) {
	server := redisserver.Start(t)
	two, err := Parse(commandReply(t, server, "2"))
	if err != nil {
		t.Fatal(err)
	}
	three, err := Parse(commandReply(t, server, "3"))
	if err != nil {
		t.Fatal(err)
	}
	if two.Len() != three.Len() || two.Len() < 300 {
		t.Fatalf("%d commands in RESP2, %d in RESP3", two.Len(), three.Len())
	}
	for a := range two.All() {
		b := three.LookupString(a.Name)
		if b == nil || a.Arity != b.Arity || a.Flags != b.Flags || !slices.Equal(a.KeySpecs, b.KeySpecs) {
			t.Errorf("%+v in RESP2, %+v in RESP3", a, b)
		}
	}
}

func TestPostAndHostStayUnknown(t *testing.T) {
	reply := recorded(t, "redis-6.0.16.resp2")
	if !strings.Contains(string(reply), "\r\npost\r\n") || !strings.Contains(string(reply), "\r\nhost:\r\n") {
		t.Fatal("the recorded reply does not have POST and HOST:")
	}
	table, err := Parse(reply)
	if err != nil {
		t.Fatal(err)
	}
	if table.LookupString("POST") != nil || table.LookupString("HOST:") != nil {
		t.Error("POST and HOST: are known and might be sent on a shared link, which the server would close")
	}
}

// entry is one command in RESP2, with the elements after the name and the arity given.
func entry(name string, elements string) string {
	return "*1\r\n*" + elements[:1] + "\r\n+" + name + "\r\n:2\r\n" + elements[1:]
}

const (
	noFlags = "*0\r\n"
	noKeys  = ":0\r\n:0\r\n:0\r\n"
)

func TestMaliciousReportsAreRefusedWithAReason(t *testing.T) {
	deep := strings.Repeat("*1\r\n", 100_000)
	for reply, want := range map[string]string{
		"":                           "cut short",
		"*0\r\n":                     "no commands",
		"*-1\r\n":                    "no commands",
		"*1\r\n":                     "an array of",
		"*1\r\n*6\r\n":               "an array of",
		"*9223372036854775807\r\n":   "an array of",
		"*-2\r\n":                    "an array of",
		"*01\r\n":                    "an array of",
		"%4611686018427387904\r\n":   "an array of",
		"+OK\r\n":                    "'+' where an array should be",
		"-NOPERM no permissions\r\n": `the server answered with an error: "NOPERM no permissions"`,
		"*\n":                        "not the start of a RESP value",
		"\r\n":                       "not the start of a RESP value",
		"*1\r\n-ERR x\r\n":           "answered with an error",
		"*1\r\n*5\r\n+a\r\n:1\r\n*0\r\n:0\r\n:0\r\n":                                        "an entry of 5 elements",
		entry("get", "6"+noFlags+noKeys) + "+x\r\n":                                         "4 bytes follow the reply",
		entry("", "6"+noFlags+noKeys):                                                       "not a command's name",
		entry("a b", "6"+noFlags+noKeys):                                                    "not a command's name",
		entry("a|b", "6"+noFlags+noKeys):                                                    "not a command's name",
		entry("a\xff", "6"+noFlags+noKeys):                                                  "not a command's name",
		entry(strings.Repeat("a", 129), "6"+noFlags+noKeys):                                 "not a command's name",
		"*1\r\n*6\r\n+get\r\n:0\r\n*0\r\n" + noKeys:                                         `command "GET": arity 0`,
		"*1\r\n*6\r\n+get\r\n:99999999999\r\n*0\r\n" + noKeys:                               `command "GET": "99999999999" where a number of at most`,
		"*1\r\n*6\r\n+get\r\n+2\r\n*0\r\n" + noKeys:                                         "'+' where a number should be",
		"*1\r\n*6\r\n:1\r\n:2\r\n*0\r\n" + noKeys:                                           "':' where a string should be",
		entry("get", "6*1\r\n:1\r\n"+noKeys):                                                "':' where a string should be",
		entry("get", "6*1\r\n$9223372036854775807\r\n"+noKeys):                              "cut short",
		entry("get", "6*1\r\n$-2\r\nxxxx"+noKeys):                                           "a string of \"-2\" bytes",
		entry("get", "6*1\r\n$1\r\nxyz"+noKeys):                                             "without its line end",
		entry("get", "6*1\r\n$1\r\nx"):                                                      "cut short",
		entry("get", "7"+noFlags+noKeys):                                                    "cut short",
		entry("get", "8"+noFlags+noKeys+"*0\r\n"+deep):                                      "nested too deeply",
		entry("get", "9"+noFlags+noKeys+"*0\r\n*0\r\n*1\r\n*1\r\n+flags\r\n"):               "a map of 1 elements",
		entry("get", "9"+noFlags+noKeys+"*0\r\n*0\r\n*65\r\n"+strings.Repeat("*0\r\n", 65)): "65 key specs",
		"*10001\r\n" + strings.Repeat("*0\r\n", 10001):                                      "10001 commands, more than 10000",
		"*1\r\n*10\r\n+a\r\n:1\r\n*0\r\n" + noKeys + "*0\r\n*0\r\n*0\r\n*1\r\n*6\r\n+b|c\r\n:1\r\n*0\r\n" + noKeys: `"b|c" among the subcommands of "A"`,
		strings.Repeat("x", maxReplySize+1): "more than 16777216",
	} {
		_, err := Parse([]byte(reply))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "command table: ") {
			t.Errorf("%.80q: error %v, want one with %q", reply, err, want)
		}
	}
}

func TestReportCutAnywhereIsRefused(t *testing.T) {
	for step, reply := range map[int][]byte{1: []byte("*1\r\n" + goodEntry), 1009: recorded(t, "redis-8.0.2.resp2")} {
		if _, err := Parse(reply); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(reply); n += step {
			if _, err := Parse(reply[:n]); err == nil {
				t.Fatalf("the first %d of %d bytes are read as a table", n, len(reply))
			}
		}
	}
}

func TestWhatOnlyNewerServersSayIsPassedOver(t *testing.T) {
	table, err := Parse([]byte("*4\r\n" +
		"*12\r\n$3\r\nfoo\r\n:-2\r\n~2\r\n+readonly\r\n+shiny\r\n:1\r\n:1\r\n:1\r\n~1\r\n+@new\r\n*1\r\n+tip\r\n" +
		"*1\r\n%4\r\n+flags\r\n~2\r\n+RO\r\n+sparkling\r\n+color\r\n*2\r\n#t\r\n,1.5\r\n" +
		"+begin_search\r\n%3\r\n+type\r\n+index\r\n+spec\r\n%2\r\n+index\r\n:1\r\n+x\r\n_\r\n+more\r\n(12\r\n" +
		"+find_keys\r\n%2\r\n+type\r\n+range\r\n+spec\r\n%3\r\n+lastkey\r\n:0\r\n+keystep\r\n:1\r\n+limit\r\n:0\r\n" +
		"*-1\r\n+eleven\r\n=5\r\ntxt:x\r\n" +
		"*10\r\n+bar\r\n:-2\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n" +
		"*1\r\n*6\r\n+flags\r\n*0\r\n+begin_search\r\n*4\r\n+type\r\n+magic\r\n+spec\r\n*2\r\n+index\r\n:1\r\n+find_keys\r\n*4\r\n+type\r\n+range\r\n+spec\r\n*2\r\n+keystep\r\n:0\r\n" +
		"*0\r\n" +
		"*-1\r\n" +
		"*6\r\n+foo\r\n:5\r\n*0\r\n:0\r\n:0\r\n:0\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	foo, bar := table.LookupString("foo"), table.LookupString("bar")
	if table.Len() != 2 || foo == nil || bar == nil {
		t.Fatalf("%d commands: %+v, %+v", table.Len(), foo, bar)
	}
	if foo.Arity != -2 || foo.Flags != ReadOnly || !slices.Equal(foo.Categories, []string{"new"}) || foo.Class != ClassRead {
		t.Errorf("foo is %+v", foo)
	}
	n, arg := argsOf("foo key more")
	if keys, err := foo.Keys(n, arg, nil); err != nil || !slices.Equal(keys, []int{1}) {
		t.Errorf("keys of foo: %v, %v", keys, err)
	}
	if _, err := bar.Keys(n, arg, nil); err != ErrKeysUnknown {
		t.Errorf("keys of bar, whose spec is of an unknown kind: %v", err)
	}
}
