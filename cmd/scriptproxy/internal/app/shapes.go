package app

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/policy/lua"
	"github.com/scriptproxy/scriptproxy/proxy"
)

const (
	// shapeWarn is how many bodies of one shape clients may bring before it
	// is worth a warning: a few are configuration, many are data.
	shapeWarn = 20
	// shapesKept bounds the shapes that are remembered; those with the fewest
	// bodies go first.
	shapesKept = 500
	// shapeText is how much of a shape is shown.
	shapeText = 240
)

// shapes counts bodies which clients brought and that differ only in
// literals. Such a script is another one for each value, and fills the caches
// of proxy and servers; the values belong into KEYS and ARGV.
type shapes struct {
	log    *slog.Logger
	mu     sync.Mutex
	byText map[string]*api.Shape
}

func newShapes(log *slog.Logger) *shapes {
	return &shapes{log: log, byText: make(map[string]*api.Shape)}
}

// add counts a body that is new to the proxy.
func (h *shapes) add(s *proxy.Script) {
	text, literals := lua.Shape(s.Body)
	if literals == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	shape := h.byText[text]
	if shape == nil {
		if len(h.byText) >= shapesKept {
			h.forget()
		}
		shown := text
		if len(shown) > shapeText {
			shown = strings.ToValidUTF8(shown[:shapeText], "") + "…"
		}
		shape = &api.Shape{Shape: shown}
		h.byText[text] = shape
	}
	shape.Bodies++
	shape.Example, shape.Last = s.SHA, time.Now().UTC()
	if shape.Bodies == shapeWarn {
		h.log.Warn("clients bring many scripts that differ only in literals; have them pass the values in KEYS and ARGV",
			"scripts", shape.Bodies, "shape", shape.Shape, "example", shape.Example)
	}
}

// forget drops half of the shapes, those with the fewest bodies and, among
// them, the oldest.
func (h *shapes) forget() {
	texts := make([]string, 0, len(h.byText))
	for text := range h.byText {
		texts = append(texts, text)
	}
	slices.SortFunc(texts, func(x, y string) int {
		a, b := h.byText[x], h.byText[y]
		if a.Bodies != b.Bodies {
			return a.Bodies - b.Bodies
		}
		return a.Last.Compare(b.Last)
	})
	for _, text := range texts[:len(texts)/2] {
		delete(h.byText, text)
	}
}

// list returns the shapes with several bodies, the most first.
func (h *shapes) list() []api.Shape {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []api.Shape{}
	for _, s := range h.byText {
		if s.Bodies > 1 {
			out = append(out, *s)
		}
	}
	slices.SortFunc(out, func(a, b api.Shape) int {
		if a.Bodies != b.Bodies {
			return b.Bodies - a.Bodies
		}
		return strings.Compare(a.Shape, b.Shape)
	})
	return out
}
