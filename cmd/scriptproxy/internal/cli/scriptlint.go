package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/policy/lua"
)

func scriptLint(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:      "lint",
		Usage:     "say what is wrong with scripts, without running them",
		ArgsUsage: "FILE...",
		Description: "Reads Redis Lua scripts: files, every .lua file below directories, or standard\n" +
			"input for -. docs/lint.md explains the findings. Nothing is connected to. The\n" +
			"exit status is 1 when there is a finding of the level that -fail-on names, or a\n" +
			"worse one.",
		ArgValidator: func(_ context.Context, cmd *urfave.Command) error {
			if cmd.Args().Len() == 0 {
				return usageError(cmd, "no script is named; - is standard input")
			}
			return nil
		},
		Flags: []urfave.Flag{
			jsonFlag(),
			&urfave.BoolFlag{Name: "sarif", Usage: "print SARIF 2.1.0"},
			&urfave.StringFlag{Name: "fail-on", Value: lua.Error.String(), Usage: "fail on findings of `LEVEL` and worse: error, warning or note"},
			&urfave.StringFlag{Name: "class", Value: "auto", Usage: "take the scripts for declared as `CLASS`: read, write or auto"},
		},
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			l := &lintRun{streams: streams, json: cmd.Bool("json"), sarif: cmd.Bool("sarif")}
			if l.json && l.sarif {
				return usageError(cmd, "-json and -sarif contradict each other")
			}
			if err := l.failOn.UnmarshalText([]byte(cmd.String("fail-on"))); err != nil {
				return usageError(cmd, fmt.Sprintf("%q is no level; use error, warning or note", cmd.String("fail-on")))
			}
			switch cmd.String("class") {
			case "auto":
			case "read":
				l.class = lua.Read
			case "write":
				l.class = lua.Write
			default:
				return usageError(cmd, fmt.Sprintf("%q is no class; use read, write or auto", cmd.String("class")))
			}
			return l.run(ctx, cmd.Args().Slice())
		},
	}
}

// lintRun is one run of script lint.
type lintRun struct {
	streams     Streams
	json, sarif bool
	failOn      lua.Level
	class       lua.Class

	files []*lintedFile
	done  atomic.Int64
}

// lintedFile is one script.
type lintedFile struct {
	path     string
	analysis *lua.Analysis
	text     []byte // the findings as text
	err      error
}

func (l *lintRun) run(ctx context.Context, paths []string) error {
	for _, path := range paths {
		if err := l.find(path); err != nil {
			return fmt.Errorf("cannot find scripts: %w", err)
		}
	}
	stop := l.showProgress()
	err := l.analyse(ctx)
	stop()
	if err != nil {
		return err
	}
	if err := l.print(); err != nil {
		return err
	}
	for _, f := range l.files {
		if f.analysis.Count(l.failOn) > 0 {
			return errReported
		}
	}
	return nil
}

// find lists the scripts that a path stands for.
func (l *lintRun) find(path string) error {
	info, err := os.Stat(path)
	if path == "-" || err == nil && !info.IsDir() {
		l.files = append(l.files, &lintedFile{path: path})
		return nil
	}
	if err != nil {
		return err
	}
	before := len(l.files)
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.EqualFold(filepath.Ext(p), ".lua") {
			l.files = append(l.files, &lintedFile{path: p})
		}
		return err
	})
	if err == nil && len(l.files) == before {
		err = fmt.Errorf("there is no .lua file below %s", path)
	}
	return err
}

// analyse looks at every file, as many at a time as there are processors.
func (l *lintRun) analyse(ctx context.Context) error {
	var wg sync.WaitGroup
	next := make(chan *lintedFile)
	for range min(runtime.GOMAXPROCS(0), len(l.files)) {
		wg.Go(func() {
			for f := range next {
				l.look(f)
				l.done.Add(1)
			}
		})
	}
	for _, f := range l.files {
		if ctx.Err() != nil {
			break
		}
		next <- f
	}
	close(next)
	wg.Wait()
	errs := []error{ctx.Err()}
	for _, f := range l.files {
		errs = append(errs, f.err)
	}
	return errors.Join(errs...)
}

func (l *lintRun) look(f *lintedFile) {
	body, err := readScript(f.path, l.streams.In)
	if err != nil {
		f.err = err
		return
	}
	f.analysis = lua.Analyse(body, lua.Options{DeclaredClass: l.class, Timeout: lintTime})
	if l.json || l.sarif || len(f.analysis.Findings) == 0 {
		return
	}
	var text bytes.Buffer
	f.err = lua.WriteText(&text, f.name(), body, f.analysis)
	f.text = text.Bytes()
}

// name is what findings call the file.
func (f *lintedFile) name() string {
	if f.path == "-" {
		return "stdin"
	}
	return f.path
}

// lintTime bounds the analysis of one script. It is longer than a proxy gives
// to what strangers send, so that a busy machine does not decide what is found.
const lintTime = 2 * time.Second

// progressFrom is the number of scripts from which progress is shown; fewer
// are done before anybody has looked.
const progressFrom = 200

// showProgress shows on a terminal how far it is, until the returned function
// is called.
func (l *lintRun) showProgress() (stop func()) {
	if len(l.files) < progressFrom || !isTerminal(asReader(l.streams.Err)) {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			fmt.Fprint(l.streams.Err, clearLine(true)+lintProgress(int(l.done.Load()), len(l.files)))
			select {
			case <-end:
				fmt.Fprint(l.streams.Err, clearLine(true))
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

func lintProgress(done, of int) string {
	const width = 30
	filled := width * done / of
	return fmt.Sprintf("[%s%s] %d of %s", strings.Repeat("#", filled), strings.Repeat(".", width-filled), done, plural(of, "script"))
}

func (l *lintRun) print() error {
	if l.json || l.sarif {
		reports := make([]lua.Report, len(l.files))
		for i, f := range l.files {
			reports[i] = lua.Report{File: f.name(), Analysis: f.analysis}
		}
		if l.sarif {
			return lua.WriteSARIF(l.streams.Out, readBuildInfo().Version, reports)
		}
		return lua.WriteJSON(l.streams.Out, reports)
	}
	var counts [lua.Error + 1]int
	for _, f := range l.files {
		if _, err := l.streams.Out.Write(f.text); err != nil {
			return err
		}
		for _, x := range f.analysis.Findings {
			counts[x.Level]++
		}
	}
	_, err := io.WriteString(l.streams.Out, fmt.Sprintf("%s: %s, %s, %s\n", plural(len(l.files), "script"),
		plural(counts[lua.Error], "error"), plural(counts[lua.Warning], "warning"), plural(counts[lua.Note], "note")))
	return err
}
