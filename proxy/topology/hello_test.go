package topology

import "testing"

func TestModulesAreWrittenForBothProtocols(t *testing.T) {
	list := []any{[]any{"name", "vectorset", "ver", int64(1), "path", "", "args", []any{"a", "b"}}}
	h := &Hello{modules: [2][]byte{appendModules(list, 2), appendModules(list, 3)}}
	const fields = "$4\r\nname\r\n$9\r\nvectorset\r\n$3\r\nver\r\n:1\r\n$4\r\npath\r\n$0\r\n\r\n$4\r\nargs\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
	if got, want := string(h.Modules(2)), "*1\r\n*8\r\n"+fields; got != want {
		t.Errorf("RESP2: %q, want %q", got, want)
	}
	if got, want := string(h.Modules(3)), "*1\r\n%4\r\n"+fields; got != want {
		t.Errorf("RESP3: %q, want %q", got, want)
	}
}

func TestServerThatSaysNothingOfModulesHasNone(t *testing.T) {
	h := &Hello{}
	for _, proto := range []int{2, 3} {
		if got := string(h.Modules(proto)); got != "*0\r\n" {
			t.Errorf("RESP%d: %q", proto, got)
		}
	}
}
