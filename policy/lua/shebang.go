package lua

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// shebang is the first line of a body that begins with #!, as Redis 7 reads it (evalExtractShebangFlags and
// functionExtractLibMetaData).
type shebang struct {
	present  bool
	length   int // bytes to leave out before Lua reads the rest; the line end stays
	engine   string
	library  string
	flags    []string
	problems []string // what Redis would refuse
}

var shebangFlags = []string{"no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"}

func readShebang(body []byte) shebang {
	if !bytes.HasPrefix(body, []byte("#!")) {
		return shebang{}
	}
	s := shebang{present: true, length: bytes.IndexByte(body, '\n')}
	if s.length < 0 {
		s.length = len(body)
		s.problems = append(s.problems, "the shebang line has no end: Redis answers \"Invalid script shebang\"")
	}
	words := strings.Fields(string(body[2:min(s.length, 4096)]))
	if body[min(2, len(body)-1)] == ' ' {
		words = append([]string{""}, words...)
	}
	if len(words) > 0 {
		s.engine = words[0]
	}
	if s.engine != "lua" {
		s.problems = append(s.problems, fmt.Sprintf("unexpected engine %q in the shebang, Redis has lua", s.engine))
	}
	for _, w := range words[min(1, len(words)):] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "flags":
			s.readFlags(value)
		case "name":
			s.library = value
		default:
			s.problems = append(s.problems, fmt.Sprintf("unknown shebang option %q", clip(w)))
		}
	}
	return s
}

func (s *shebang) readFlags(list string) {
	for _, f := range strings.Split(list, ",") {
		s.flags = append(s.flags, f)
		if !slices.Contains(shebangFlags, f) {
			s.problems = append(s.problems, fmt.Sprintf("unknown flag %q in the shebang; Redis has %s",
				clip(f), strings.Join(shebangFlags, ", ")))
		}
	}
}

func (s *shebang) describe(a *Analysis) {
	a.Shebang, a.Engine, a.Library, a.Flags = s.present, s.engine, s.library, s.flags
	a.NoWrites = s.present && slices.Contains(s.flags, "no-writes")
}
