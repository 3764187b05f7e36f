package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	urfave "github.com/urfave/cli/v3"
)

// version is set by the linker for releases:
// -X github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/cli.version=v1.2.3
var version string

// buildInfo says which program this is.
type buildInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Date     string `json:"date,omitempty"` // of the commit
	Modified bool   `json:"modified"`       // whether the tree differed from the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// readBuildInfo returns what the linker and the toolchain left in the program.
func readBuildInfo() buildInfo {
	info := buildInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		info.Version = "devel"
		return info
	}
	if info.Version == "" {
		info.Version = build.Main.Version
	}
	if info.Version == "" || info.Version == "(devel)" {
		info.Version = "devel"
	}
	for _, setting := range build.Settings {
		switch setting.Key {
		case "vcs.revision":
			info.Commit = setting.Value
		case "vcs.time":
			info.Date = setting.Value
		case "vcs.modified":
			info.Modified = setting.Value == "true"
		}
	}
	return info
}

func (b buildInfo) String() string {
	text := "scriptproxy " + b.Version
	if b.Commit != "" {
		text += fmt.Sprintf(" (%.12s", b.Commit)
		if b.Modified {
			text += ", modified"
		}
		text += ")"
	}
	return fmt.Sprintf("%s %s %s", text, b.Go, b.Platform)
}

func versionCommand(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "version",
		Usage: "print the version of the program",
		Flags: []urfave.Flag{jsonFlag()},
		Action: func(_ context.Context, cmd *urfave.Command) error {
			info := readBuildInfo()
			if cmd.Bool("json") {
				return printJSON(streams.Out, info)
			}
			_, err := fmt.Fprintln(streams.Out, info)
			return err
		},
	}
}
