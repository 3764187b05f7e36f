package acl

import "github.com/scriptproxy/scriptproxy/policy"

// Reader tells what users may run by what a server says of them. Any goroutine may use it.
type Reader struct{ model *model }

// NewReader returns a Reader for a server that has these commands.
func NewReader(commands []policy.Command) *Reader { return &Reader{newModel(commands)} }

// Permits reports whether a user that is switched on may run a command, in lower case, by any of its selectors.
func (r *Reader) Permits(s State, command string) (bool, error) {
	if !s.Exists || !s.On {
		return false, nil
	}
	permitted, err := (&Plan{model: r.model}).permitted(s)
	return permitted[command], err
}
