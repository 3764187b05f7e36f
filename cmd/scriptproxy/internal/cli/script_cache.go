package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/client"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/policy/registry"
)

func scriptRetire(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "retire",
		Usage: "take a version, or a whole script, out of use",
		Description: "Calls of it are answered with NOSCRIPT, or with -answer denied with an error that\n" +
			"says why. The nodes still hold it until they are compacted: -compact does that\n" +
			"at once.",
		ArgsUsage:     "NAME [VERSION]",
		ArgValidator:  arguments(1, 2, "NAME"),
		ShellComplete: completeNames(1),
		Flags: changeFlags(
			&urfave.StringFlag{Name: "answer", Value: string(registry.AnswerNoScript), Usage: "answer calls with `ERROR`: noscript or denied"},
			&urfave.BoolFlag{Name: "undo", Usage: "take it back into use"},
			&urfave.BoolFlag{Name: "force", Usage: "also the active version: calls by name then fail"},
			&urfave.BoolFlag{Name: "compact", Usage: "then compact the nodes, so that they forget it"},
		),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			name, version := cmd.Args().Get(0), cmd.Args().Get(1)
			what := name
			if version != "" {
				what += " " + version
			}
			c := change{
				streams: streams, cmd: cmd, operation: "retire", name: name,
				request: api.Change{Version: version, Answer: cmd.String("answer"), Force: cmd.Bool("force")},
				ask: func(s *api.Script) string {
					return fmt.Sprintf("take %s out of use, on every proxy? It was called %s times here, last %s.", what, calls(s, version), ago(used(s, version)))
				},
			}
			if cmd.Bool("undo") {
				c.operation, c.request.Answer, c.request.Force = "unretire", "", false
				c.ask = func(*api.Script) string { return fmt.Sprintf("take %s back into use, on every proxy?", what) }
			}
			if err := c.run(ctx); err != nil || !cmd.Bool("compact") {
				return err
			}
			return compactNodes(ctx, streams, c.client, api.Compact{}, cmd.Bool("json"))
		},
	}
}

func calls(s *api.Script, version string) string {
	n := s.Calls()
	for _, u := range s.Use {
		if u.Version == version {
			n = u.Calls
		}
	}
	return strconv.FormatUint(n, 10)
}

func used(s *api.Script, version string) time.Time {
	for _, u := range s.Use {
		if u.Version == version {
			return u.LastUsed
		}
	}
	return s.LastUsed()
}

func scriptCache(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "cache",
		Usage: "show what the nodes hold in their script caches, and what clients put there",
		Description: "ALIVE is how many scripts a compaction would load again: the registered versions\n" +
			"that are not retired, and what clients brought and used lately.",
		Flags: adminFlags(&urfave.IntFlag{Name: "limit", Value: 20, Usage: "list up to `N` scripts of clients"}),
		Action: look(func(ctx context.Context, c *client.Client, cmd *urfave.Command) error {
			cache, err := c.Cache(ctx)
			switch {
			case err != nil:
				return err
			case cmd.Bool("json"):
				return printJSON(streams.Out, cache)
			}
			return showCache(streams.Out, cache, cmd.Int("limit"))
		}),
	}
}

func showCache(w io.Writer, cache *api.Cache, limit int) error {
	nodes := &table{header: []string{"node", "role", "scripts", "memory", "alive", "compacted", ""}}
	for _, n := range cache.Nodes {
		nodes.add(n.Node, n.Role, known(n.Scripts), knownSize(n.Memory), strconv.Itoa(n.Alive), ago(n.Compacted), n.Error)
	}
	if err := nodes.print(w); err != nil {
		return err
	}
	if len(cache.Unregistered) > 0 {
		fmt.Fprintf(w, "\n%s that clients brought, the latest used first:\n", plural(len(cache.Unregistered), "script"))
		t := &table{header: []string{"sha", "class", "bytes", "calls", "used", "alive", "begins"}}
		for _, s := range cache.Unregistered[:min(limit, len(cache.Unregistered))] {
			t.add(s.SHA, s.Class, strconv.Itoa(s.Bytes), strconv.FormatUint(s.Calls, 10), ago(s.LastUsed), strconv.FormatBool(s.Alive), strings.Join(strings.Fields(s.Begins), " "))
		}
		if err := t.print(w); err != nil {
			return err
		}
	}
	if len(cache.Foreign) > 0 {
		fmt.Fprintf(w, "\n%s that only the servers know, and a compaction would lose:\n", plural(len(cache.Foreign), "script"))
		t := &table{header: []string{"sha", "used"}}
		for _, s := range cache.Foreign[:min(limit, len(cache.Foreign))] {
			t.add(s.SHA, ago(s.LastUsed))
		}
		if err := t.print(w); err != nil {
			return err
		}
	}
	if len(cache.Shapes) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nbodies that differ only in literals, which should be in KEYS and ARGV:\n")
	t := &table{header: []string{"bodies", "last", "shape"}}
	for _, s := range cache.Shapes[:min(limit, len(cache.Shapes))] {
		t.add(strconv.Itoa(s.Bodies), ago(s.Last), strings.Join(strings.Fields(s.Shape), " "))
	}
	return t.print(w)
}

func known(n int64) string {
	if n < 0 {
		return "?"
	}
	return strconv.FormatInt(n, 10)
}

func knownSize(n int64) string {
	if n < 0 {
		return "?"
	}
	if n >= 10<<10 {
		n = n >> 10 << 10 // a whole number of KiB
	}
	return config.Size(n).String()
}

func scriptCompact(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "compact",
		Usage: "make the nodes forget the scripts that nobody uses",
		Description: "Redis can't unload one script. So a node's script cache is emptied and what is\n" +
			"in use is loaded again, one node at a time, without a client of the proxy\n" +
			"noticing. Clients that go round the proxy lose what they loaded.",
		Flags: adminFlags(
			&urfave.StringSliceFlag{Name: "node", Usage: "only the node at `ADDRESS`; may be given several times"},
			&urfave.StringFlag{Name: "keep", Usage: "load again what clients used within `TIME`, instead of scripts.compact.keep"},
			&urfave.BoolFlag{Name: "force", Usage: "also when clients use scripts that only the servers know"},
			&urfave.BoolFlag{Name: "yes", Usage: "do not ask"},
		),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			if !cmd.Bool("yes") {
				if !isTerminal(streams.In) {
					f := usageError(cmd, "this empties script caches, and there is no terminal to ask on")
					f.hint = "-yes does not ask"
					return f
				}
				if err := confirm(streams, "empty the script caches, one after the other, and load again what is in use?"); err != nil {
					return err
				}
			}
			request := api.Compact{Nodes: cmd.StringSlice("node"), Keep: cmd.String("keep"), Force: cmd.Bool("force")}
			return compactNodes(ctx, streams, c, request, cmd.Bool("json"))
		},
	}
}

// compactNodes compacts and shows how it goes: a bar for each node on a terminal,
// a line for each node elsewhere, or JSON lines.
func compactNodes(ctx context.Context, streams Streams, c *client.Client, request api.Compact, asJSON bool) error {
	bar := isTerminal(asReader(streams.Out)) && !asJSON
	var failed error
	err := c.Compact(ctx, request, func(p api.Progress) {
		switch {
		case failed != nil:
		case asJSON:
			failed = printJSONLine(streams.Out, p)
		case p.Step == api.StepDone:
			_, failed = fmt.Fprintln(streams.Out, clearLine(bar)+doneText(p))
		case p.Step == api.StepSkip:
			_, failed = fmt.Fprintf(streams.Out, "%s%s  skipped: %s\n", clearLine(bar), p.Node, p.Error)
		case bar:
			_, failed = fmt.Fprint(streams.Out, clearLine(bar)+barText(p))
		}
	})
	if bar && err != nil {
		fmt.Fprintln(streams.Out)
	}
	if err == nil {
		err = failed
	}
	return told(err)
}

func asReader(w io.Writer) io.Reader {
	r, ok := w.(io.Reader)
	if !ok {
		return nil
	}
	return r
}

func clearLine(bar bool) string {
	if !bar {
		return ""
	}
	return "\r\x1b[K"
}

func barText(p api.Progress) string {
	const width = 30
	filled := width
	if p.Of > 0 {
		filled = width * p.Loaded / p.Of
	}
	return fmt.Sprintf("%s  [%s%s] %d of %s", p.Node, strings.Repeat("#", filled), strings.Repeat(".", width-filled), p.Loaded, plural(p.Of, "script"))
}

func doneText(p api.Progress) string {
	return fmt.Sprintf("%s  %s scripts, %s -> %s scripts, %s; %d loaded again in %.2fs", p.Node, known(p.ScriptsBefore), knownSize(p.MemoryBefore),
		known(p.ScriptsAfter), knownSize(p.MemoryAfter), p.Loaded, p.Seconds)
}
