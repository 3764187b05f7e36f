//go:build linux

package proxy

import (
	"strconv"

	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// Function is what FCALL of a registered library's function leads to. Its
// Script stands for the library's version; the server has the code.
type Function struct {
	Entry
	// Target and CanaryTarget are the function's names on the server where
	// they differ from the one called: copies of a version that run beside
	// the active one.
	Target, CanaryTarget string
}

// WithFunctions adds functions to a table that nobody uses yet: "name" is the
// active version's, "name@version" that one's.
func (t *ScriptTable) WithFunctions(fns map[string]*Function) *ScriptTable {
	t.fns = fns
	return t
}

// Function finds a registered function, or nil.
func (t *ScriptTable) Function(name []byte) *Function { return t.fns[string(name)] }

// function finds what an FCALL runs: the library's version, where it is
// registered, and the function's name on the server, where that differs; or a
// refusal.
func (s *session) function(r *resp.Request) (script *Script, target, refusal string) {
	fn := s.w.gen.Scripts.Function(r.Arg(1))
	if fn == nil {
		return nil, "", ""
	}
	keys, err := command.NumKeys(r.Arg(2), r.Len())
	if err != nil {
		keys = 0 // the server says what is wrong
	}
	switch script = s.choose(&fn.Entry, r, keys); script {
	case nil:
		return nil, "", fn.Refusal
	case fn.Canary:
		return script, fn.CanaryTarget, ""
	}
	return script, fn.Target, ""
}

// appendFunction appends the head of an FCALL with n arguments.
func appendFunction(buf []byte, n int, name string, ro bool) []byte {
	buf = append(buf, '*')
	buf = strconv.AppendInt(buf, int64(n), 10)
	if ro {
		buf = append(buf, "\r\n$8\r\nFCALL_RO\r\n"...)
	} else {
		buf = append(buf, "\r\n$5\r\nFCALL\r\n"...)
	}
	buf = appendBulkHeader(buf, len(name))
	buf = append(buf, name...)
	return append(buf, crlf...)
}
