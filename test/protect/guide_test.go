//go:build linux

package protect

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// reportBody is a third party's script that takes as long as its argument says.
const reportBody = "local n = 0 repeat n = n + 1 until n == tonumber(ARGV[1]) redis.call('GET', KEYS[1]) return n"

// block is one fenced part of a document.
type block struct{ kind, text string }

// blocksOf returns the fenced parts of a document after a heading.
func blocksOf(t *testing.T, path, heading string) (blocks []block) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(b), heading)
	if !found {
		t.Fatalf("%s has no %q", path, heading)
	}
	inside := false
	for line := range strings.Lines(text) {
		switch fence := strings.HasPrefix(line, "```"); {
		case fence && !inside:
			blocks = append(blocks, block{kind: strings.TrimSpace(line[3:])})
			inside = true
		case fence:
			inside = false
		case inside:
			blocks[len(blocks)-1].text += line
		}
	}
	return blocks
}

// TestGuideToMakeAScriptHarmlessDoesWhatItSays runs every command of the guide in docs/protection.md with the configuration that stands
// there, compares what they print, and has others use the primary all the while.
func TestGuideToMakeAScriptHarmlessDoesWhatItSays(t *testing.T) {
	primary, replica := redisserver.StartPair(t)
	listen, admin := redisserver.FreePort(t), redisserver.FreePort(t)
	dir := t.TempDir()
	own := strings.NewReplacer("127.0.0.1:6379", primary.Addr(), "127.0.0.1:6381", replica.Addr(),
		"127.0.0.1:6380", fmt.Sprintf("127.0.0.1:%d", listen), "-p 6380", fmt.Sprintf("-p %d", listen), "127.0.0.1:9380", fmt.Sprintf("127.0.0.1:%d", admin))
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("scripts/report/v1.lua", reportBody)
	// The proxy that runs already knows nothing of the script.
	write("config.yaml", own.Replace("listen: [127.0.0.1:6380]\nadmin: {listen: 127.0.0.1:9380}\nupstream: {primary: 127.0.0.1:6379, replicas: [127.0.0.1:6381]}\n"))
	p := &proxy{program.Start(t, binary, filepath.Join(dir, "config.yaml")), t}
	p.Addr, p.Admin = fmt.Sprintf("127.0.0.1:%d", listen), fmt.Sprintf("127.0.0.1:%d", admin)
	p.AwaitReady()
	start := time.Now()
	others := gather(p, "SET and GET, primary", 20, time.Millisecond, plainly)

	blocks := blocksOf(t, filepath.Join("..", "..", "docs", "protection.md"), "## Guide:")
	ran := 0
	for i, b := range blocks {
		switch b.kind {
		case "yaml":
			write("config.yaml", own.Replace(b.text))
		case "sh no-run":
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			cmd := exec.CommandContext(ctx, "bash", "-e", "-o", "pipefail", "-c", own.Replace(b.text))
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			cancel()
			if err != nil {
				t.Fatalf("%s: %v\n%s", b.text, err, out)
			}
			ran++
			if i+1 < len(blocks) && blocks[i+1].kind == "text" && !regexp.MustCompile(pattern(blocks[i+1].text)).MatchString(withoutBlankLines(string(out))) {
				t.Errorf("%s prints\n%s\nand not, as the guide says,\n%s", b.text, out, blocks[i+1].text)
			}
			if strings.Contains(b.text, "reload") {
				p.Eventually("route the script to the replica", func() error {
					if got := do(t, p.dial(), "EVALSHA", "report", 1, "orders", 1); got != int64(1) || reads(replica) == 0 {
						return fmt.Errorf("%v, %d reads", got, reads(replica))
					}
					return nil
				})
			}
		}
	}
	if ran < 5 {
		t.Fatalf("the guide has %d blocks of commands", ran)
	}
	if fails := others.report(phase{"all", start, time.Now()}); len(fails) > 0 {
		t.Errorf("others failed: %v, %v", fails, others.texts)
	}
	if n := killsSent(primary); n != 0 {
		t.Errorf("the primary got %d kills", n)
	}
}

// withoutBlankLines leaves out the lines that redis-cli adds to errors.
func withoutBlankLines(text string) string {
	return regexp.MustCompile(`(?m)^\n`).ReplaceAllString(text, "")
}

// pattern is a regular expression for an output in which … stands for anything within a line, and as a line for any lines.
func pattern(text string) string {
	p := "^"
	for line := range strings.Lines(text) {
		if line == "…\n" {
			p += "(?:.*\n)*"
		} else {
			p += strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*")
		}
	}
	return p + "$"
}
