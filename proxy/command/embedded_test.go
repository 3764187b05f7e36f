package command

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// sameVersion reports whether the server is the one that commands.txt was generated from.
func sameVersion(server *redisserver.Server) bool {
	info := server.Info("server")
	version := "redis " + info["redis_version"]
	if v, ok := info["valkey_version"]; ok {
		version = "valkey " + v
	}
	header, _, _ := strings.Cut(commandsText, "\n")
	return strings.Contains(header, "reply of "+version+";")
}

func TestEmbeddedTableIsWhatTheServerReports(t *testing.T) {
	server := redisserver.Start(t)
	exact := sameVersion(server)
	for their := range parsed(t, server).All() {
		our := Embedded().LookupString(their.Name)
		switch {
		case our == nil:
			t.Errorf("the embedded table does not have %s", their.Name)
		case our.Class != their.Class || our.Op != their.Op || our.Blocks != their.Blocks || our.ReplicaOK() != their.ReplicaOK():
			t.Errorf("%s is treated differently after the server's report: %+v, embedded: %+v", their.Name, their, our)
		case exact && (our.Arity != their.Arity || our.Flags != their.Flags || !slices.Equal(our.KeySpecs, their.KeySpecs) ||
			!slices.Equal(our.Categories, their.Categories) ||
			our.FirstKey != their.FirstKey || our.LastKey != their.LastKey || our.Step != their.Step):
			t.Errorf("%s is reported differently by the server: %+v, embedded: %+v", their.Name, their, our)
		}
	}
}

func TestGenerateWritesTheEmbeddedFileAgain(t *testing.T) {
	server := redisserver.Start(t)
	cmd := exec.Command("go", "run", "./internal/gen", "-addr", server.Addr())
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("running the generator: %v\n%s", err, stderr.String())
	}
	cmds := map[string]*Command{}
	if err := readText("the generator's output", string(out), cmds); err != nil {
		t.Fatal(err)
	}
	if len(cmds) < 200 {
		t.Errorf("the generator wrote %d commands, want at least 200", len(cmds))
	}
	if sameVersion(server) && string(out) != commandsText {
		t.Errorf("commands.txt is not what the generator writes for this server: run go generate")
	}
}

func TestSupplementHasWhatNewerServersBrought(t *testing.T) {
	for name, arity := range map[string]int{
		"WAITAOF": 4, "CLIENT|NO-TOUCH": 3, "CLIENT|SETINFO": 4, "HEXPIRE": -6, "HPTTL": -5, "HGETEX": -5, "HSETEX": -6, "HGETDEL": -5,
		"SCRIPT|SHOW": 3, "VSIM": -1, "XACKDEL": -6, "MSETEX": -4, "DELIFEQ": 3, "STRALGO": -2,
	} {
		if c := Embedded().LookupString(name); c == nil || c.Arity != arity {
			t.Errorf("%s: %+v, want arity %d", name, c, arity)
		}
	}
}

func TestMistakesInAnEmbeddedFileAreNamedWithTheirLine(t *testing.T) {
	for line, want := range map[string]string{
		"get 2 readonly":                            "f:2: 3 fields instead of 6",
		"get two readonly read - -":                 "f:2: arity",
		"get 2 nosuch read - -":                     `f:2: unknown flag "nosuch"`,
		"get 2 readonly read 1,1 -":                 `f:2: key range: "1,1" has 2 numbers instead of 3`,
		"get 2 readonly read 1,x,1 -":               "f:2: key range",
		"get 2 readonly read - RO:1":                `f:2: key spec "RO:1": 2 parts instead of 3`,
		"get 2 readonly read - XX:1:0/1/0":          `f:2: key spec "XX:1:0/1/0": unknown flag "XX"`,
		"get 2 readonly read - RO:x:0/1/0":          "f:2: key spec",
		"get 2 readonly read - RO:KEYS>:0/1/0":      "f:2: key spec",
		"get 2 readonly read - RO:1:0/1":            "f:2: key spec",
		"get 2 readonly read - RO:1:#0/1":           "f:2: key spec",
		"client|list 2 - - - -":                     "f:2: CLIENT|LIST comes before its container CLIENT",
		"set 2 - - - -\nset 2 - - - -":              "f:3: SET is there twice",
		"a 2 - - - -\na|b 2 - - - -\na|b 2 - - - -": "f:4: A|B is there twice",
	} {
		err := readText("f", "# a comment\n"+line, map[string]*Command{})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: error %v, want one that begins with %q", line, err, want)
		}
	}
}

func BenchmarkLoadingTheEmbeddedTable(b *testing.B) {
	for b.Loop() {
		buildEmbedded()
	}
}
