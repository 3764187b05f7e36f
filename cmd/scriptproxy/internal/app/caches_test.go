package app

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/proxy"
)

func TestTheSizeOfACacheIsReadFromEveryServersINFO(t *testing.T) {
	for what, c := range map[string]struct {
		info string
		want cacheSize
	}{
		"Redis 7":   {"# Memory\r\nused_memory_vm_eval:30000\r\nused_memory_lua:30000\r\nused_memory_scripts_eval:512\r\nused_memory_scripts:700\r\nnumber_of_cached_scripts:3\r\n", cacheSize{3, 30512}},
		"Redis 6.2": {"used_memory_lua:40000\r\nused_memory_lua_human:39K\r\nused_memory_scripts:100\r\nnumber_of_cached_scripts:1\r\n", cacheSize{1, 40100}},
		"neither":   {"# Memory\r\n", unknownSize},
	} {
		if got := parseCacheSize(c.info); got != c.want {
			t.Errorf("%s: %+v, want %+v", what, got, c.want)
		}
	}
}

func TestManyBodiesOfOneShapeAreWarnedOfOnce(t *testing.T) {
	var log strings.Builder
	h := newShapes(slog.New(slog.NewTextHandler(&log, nil)))
	for i := range 3 * shapeWarn {
		h.add(proxy.NewScript("", "", fmt.Appendf(nil, "return redis.call('GET', 'user:%d')", i), proxy.ClassWrite, 0, 1))
	}
	h.add(proxy.NewScript("", "", []byte("return KEYS"), proxy.ClassWrite, 0, 1))
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "return redis.call('GET', ?)") {
		t.Errorf("%d warnings: %s", n, log.String())
	}
	if got := h.list(); len(got) != 1 || got[0].Bodies != 3*shapeWarn {
		t.Errorf("%+v", got)
	}
}

func TestShapesAreBounded(t *testing.T) {
	h := newShapes(slog.New(slog.DiscardHandler))
	add := func(body string) { h.add(proxy.NewScript("", "", []byte(body), proxy.ClassWrite, 0, 1)) }
	add("return 'often' .. 1")
	add("return 'often' .. 2")
	for i := range 3 * shapesKept {
		add(fmt.Sprintf("return 1 %s", strings.Repeat("+ x ", i+1)))
	}
	if n := len(h.byText); n > shapesKept {
		t.Errorf("%d shapes are kept", n)
	}
	if got := h.list(); len(got) == 0 || got[0].Shape != "return ? .. ?" {
		t.Errorf("the shape with the most bodies is gone: %+v", got)
	}
}

func TestBatchesHoldAtLeastOneScript(t *testing.T) {
	script := func(n int) *proxy.Script {
		return proxy.NewScript("", "", []byte(strings.Repeat("x", n)), proxy.ClassWrite, 0, 1)
	}
	list := []*proxy.Script{script(500), script(50), script(60), script(10)}
	for most, want := range map[int]int{10: 1, 549: 1, 550: 2, 619: 3, 1000: 4} {
		if got := batch(list, most); got != want {
			t.Errorf("at most %d bytes: %d scripts, want %d", most, got, want)
		}
	}
	if got := batch(nil, 10); got != 0 {
		t.Errorf("of none: %d", got)
	}
}
