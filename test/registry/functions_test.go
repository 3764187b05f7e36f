//go:build linux

package registry

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func libraryBody(answer string) string {
	return "#!lua name=lib\n" +
		"redis.register_function('hello', function(keys, args) return '" + answer + "' end)\n" +
		"redis.register_function{function_name='look', callback=function(keys, args) return '" + answer + "' end, flags={'no-writes'}}\n"
}

func TestLibrariesHaveVersionsSideBySide(t *testing.T) {
	primary, replica := redisserver.StartPair(t)
	p := newProxy(t, object{"scripts": object{"list": []object{{"name": "lib", "versions": versions(libraryBody("one"))}}}}, primary, replica).start()
	c := p.client()
	want := func(answer string, call ...any) {
		t.Helper()
		if v := do(t, c, call...); fmt.Sprint(v) != answer {
			t.Errorf("%v answers %v, want %s", call, v, answer)
		}
	}
	await(t, "the library is on the primary", func() bool { return do(t, c, "FCALL", "hello", 0) == "one" })
	file := filepath.Join(p.dir, "two.lua")
	if err := os.WriteFile(file, []byte(libraryBody("two")), 0o600); err != nil {
		t.Fatal(err)
	}
	p.must("script", "load", "lib", file)
	want("two", "FCALL", "hello@v2", 0)
	want("one", "FCALL", "hello", 0)

	p.must("script", "canary", "-yes", "lib", "v2", "100")
	want("two", "FCALL", "hello", 1, "key")
	p.must("script", "abort", "lib")
	want("one", "FCALL", "hello", 1, "key")

	p.must("script", "activate", "-yes", "lib", "v2")
	want("two", "FCALL", "hello", 0)
	want("one", "FCALL", "hello@v1", 0)
	want("two", "FCALL_RO", "look", 0)
	want("one", "FCALL_RO", "look@v1", 0)
	if v := primary.Do("FCALL", "hello", 0); v != "two" {
		t.Errorf("a client that goes round the proxy gets %v", v)
	}
	await(t, "the replica has the copy", func() bool { return replica.Do("FCALL_RO", "look__v1", 0) == "one" })

	p.must("script", "rollback", "lib")
	want("one", "FCALL", "hello", 0)
	p.must("script", "retire", "-yes", "lib", "v2")
	want("ERR Function not found", "FCALL", "hello@v2", 0)
	await(t, "the copy of the retired version is gone", func() bool {
		return !strings.Contains(fmt.Sprint(primary.Do("FUNCTION", "LIST")), "lib__v2")
	})

	text := metrics(t, p)
	for _, series := range []string{
		`script_calls_total{script="lib",version="v1",route="primary",outcome="ok"}`,
		`script_calls_total{script="lib",version="v2",route="primary",outcome="ok"}`,
	} {
		if !hasSeries(text, series) {
			t.Errorf("/metrics lacks %s", series)
		}
	}
	want("ERR Function not found", "FCALL", "nobody", 0)
}

// metrics is the text of /metrics.
func metrics(t *testing.T, p *proxy) string {
	t.Helper()
	status, text := p.Get("/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: %d %s", status, text)
	}
	return text
}

// hasSeries looks for a series whatever the order of its labels.
func hasSeries(text, series string) bool {
	name, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "scriptproxy_"+name+"{") {
			continue
		}
		all := true
		for label := range strings.SplitSeq(labels, ",") {
			all = all && strings.Contains(line, label)
		}
		if all {
			return true
		}
	}
	return false
}

func TestLibrariesComeBackWithANewPrimary(t *testing.T) {
	primary := redisserver.Start(t)
	p := newProxy(t, object{"scripts": object{"list": []object{{"name": "lib", "versions": versions(libraryBody("one"))}}}}, primary).start()
	c := p.client()
	await(t, "the library is on the primary", func() bool { return do(t, c, "FCALL", "hello", 0) == "one" })
	primary.Do("FUNCTION", "FLUSH")
	primary.Restart() // without persistence: it has nothing
	await(t, "the library is on the server again", func() bool {
		v, err := p.client().Do("FCALL", "hello@v1", 0)
		return err == nil && v == "one"
	})
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came that %s", what)
		}
	}
}
