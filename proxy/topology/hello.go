package topology

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// Hello is what the primary says of itself, for the proxy's own HELLO.
type Hello struct {
	Server, Version, Mode string
	// modules is what stands behind "modules", in RESP2 and in RESP3.
	modules [2][]byte
}

var noModules = []byte("*0\r\n")

// Modules is the list of the server's modules as HELLO gives it in protocol
// version 2 or 3.
func (h *Hello) Modules(proto int) []byte {
	if b := h.modules[proto-2]; b != nil {
		return b
	}
	return noModules
}

// ask has the server say HELLO, which takes no permission. What it does not say
// stays as it was: Redis before 6.0 has no HELLO.
func (h *Hello) ask(ctx context.Context, c *redis.Client) {
	fields, err := c.Do(ctx, "HELLO", "2").Slice()
	if err != nil {
		return
	}
	for i := 0; i+1 < len(fields); i += 2 {
		text, _ := fields[i+1].(string)
		switch fields[i] {
		case "server":
			h.Server = text
		case "version":
			h.Version = text
		case "mode":
			h.Mode = text
		case "modules":
			list, _ := fields[i+1].([]any)
			h.modules = [2][]byte{appendModules(list, 2), appendModules(list, 3)}
		}
	}
}

// appendModules writes a list of modules, each of which is an array of names and
// values in RESP2, and a map in RESP3.
func appendModules(list []any, proto int) []byte {
	b := resp.AppendArrayHeader(nil, len(list))
	for _, m := range list {
		fields, ok := m.([]any)
		if !ok || proto == 2 {
			b = appendValue(b, m)
			continue
		}
		b = fmt.Appendf(b, "%%%d\r\n", len(fields)/2)
		for _, f := range fields {
			b = appendValue(b, f)
		}
	}
	return b
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return resp.AppendBulkString(b, v)
	case int64:
		return fmt.Appendf(b, ":%d\r\n", v)
	case []any:
		b = resp.AppendArrayHeader(b, len(v))
		for _, e := range v {
			b = appendValue(b, e)
		}
		return b
	}
	return resp.AppendBulkString(b, "")
}
