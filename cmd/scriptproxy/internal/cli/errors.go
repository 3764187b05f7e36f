package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
)

// Exit statuses.
const (
	statusFailed = 1
	statusUsage  = 2
)

// failure is an error with what the command line adds to it.
type failure struct {
	err    error
	hint   string // what to do, empty when err says it
	status int    // exit status
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// errReported is returned by a command that has said itself what is wrong.
var errReported = errors.New("failed")

// hinted adds a hint to an error.
func hinted(err error, format string, args ...any) error {
	return &failure{err: err, hint: fmt.Sprintf(format, args...), status: statusFailed}
}

// usageError says that the command was called wrongly.
func usageError(cmd *urfave.Command, text string) *failure {
	return &failure{
		err:    errors.New(text),
		hint:   fmt.Sprintf("%q explains the usage", cmd.FullName()+" -help"),
		status: statusUsage,
	}
}

// report prints an error, each problem of a configuration on a line of its own, and
// the hint.
func report(w io.Writer, err error) {
	if errors.Is(err, errReported) {
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(w, "scriptproxy: error: %s\n", line)
	}
	if f, ok := errors.AsType[*failure](err); ok && f.hint != "" {
		fmt.Fprintf(w, "scriptproxy: hint: %s\n", f.hint)
	}
}

func exitStatus(err error) int {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.status
	}
	return statusFailed
}

// warn prints the warnings about a configuration.
func warn(w io.Writer, warnings []config.Warning) {
	for _, warning := range warnings {
		fmt.Fprintf(w, "scriptproxy: warning: %s\n", warning)
	}
}
