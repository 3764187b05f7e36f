//go:build linux

package policy

import (
	"os"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// blocks are the code blocks of a language in docs/policy.md.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, part := range strings.Split(string(text), "\n```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "\n```")
		list = append(list, block)
	}
	return list
}

func TestTheGuidesRulesAndCommandsWork(t *testing.T) {
	redis := redisserver.Start(t, append(users, redisserver.ACL("app-web on >app-web ~* &* +@all", "app-batch on >app-batch ~* &* +@all"))...)
	yaml := blocks(t, "yaml")
	if len(yaml) != 2 {
		t.Fatalf("the guide has %d blocks of YAML", len(yaml))
	}
	s := start(t, redis, "enforce", yaml[1]+"\n", "")
	if out, status := s.cli("policy", "check", "-config", "config.yaml"); status != 0 || !strings.Contains(out, "is valid: 7 rules") {
		t.Errorf("policy check: %d %s", status, out)
	}
	s.write("transfer.yaml", strings.Replace(s.read("config.yaml"), "- name: incr", "- {name: transfer, versions: {v2: {body: return 1}}}\n    - name: incr", 1))
	run := 0
	for _, block := range blocks(t, "sh no-run") {
		for line := range strings.Lines(block) {
			line, _, _ = strings.Cut(line, "#")
			line = strings.NewReplacer("config.yaml", "transfer.yaml", "127.0.0.1:9380", s.Admin, "-for 24h", "-for 1s", "-out rules.yaml", "-out learned.yaml").Replace(line)
			if out, status := s.cli(splitWords(line)[1:]...); status != 0 {
				t.Errorf("%s: %d %s", line, status, out)
			}
			run++
		}
	}
	if run != 5 {
		t.Errorf("the guide has %d commands", run)
	}
}

// splitWords splits a line as a shell does that knows double quotes only.
func splitWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}
