package console

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/redcon"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// lines answers a table: an array of simple strings, which redis-cli shows as they
// are, one a line, with the header first.
func lines(c redcon.Conn, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	c.WriteArray(len(rows))
	for n, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if n == 0 {
				cell = strings.ToUpper(cell)
			}
			fmt.Fprintf(&line, "%-*s  ", width[i], cell)
		}
		c.WriteString(clean(strings.TrimRight(line.String(), " ")))
	}
}

func runScripts(s *session, c redcon.Conn, args []string) {
	rows := [][]string{{"name", "active", "previous", "canary", "declared", "calls", "revision", "changed"}}
	for _, script := range s.srv.opts.Desk.List(args, "").Scripts {
		canary := ""
		if k := script.Canary; k != nil {
			canary = fmt.Sprintf("%s %g%%", k.Version, k.Percent)
		}
		declared := script.DeclaredActive
		if script.Override {
			declared += " (overridden)"
		}
		rows = append(rows, []string{
			script.Name, script.Active, script.Previous, canary, declared,
			strconv.FormatUint(script.Calls(), 10), strconv.FormatUint(script.Revision, 10), changed(&script.Script),
		})
	}
	lines(c, rows)
}

func changed(s *registry.Script) string {
	return fmt.Sprintf("%s by %s, %s", s.LastAction, s.ChangedBy, s.ChangedAt.UTC().Format(time.RFC3339))
}

func runShow(s *session, c redcon.Conn, args []string) {
	desk := s.srv.opts.Desk
	if len(args) > 1 {
		v, err := desk.Version(args[0], args[1])
		if err != nil {
			writeError(c, err)
			return
		}
		c.WriteBulkString(v.Body + string(v.BodyBase64))
		return
	}
	script, err := desk.Show(args[0])
	if err != nil {
		writeError(c, err)
		return
	}
	rows := [][]string{{"version", "state", "sha", "class", "bytes", "calls", "findings", "created"}}
	for i, v := range script.Versions {
		rows = append(rows, []string{
			v.ID, strings.Join(api.States(&script.Script, v), " "), v.SHA, v.Class.String(), strconv.Itoa(script.Use[i].Bytes),
			strconv.FormatUint(script.Use[i].Calls, 10), strconv.Itoa(len(v.Findings)), v.CreatedAt.UTC().Format(time.RFC3339),
		})
	}
	lines(c, rows)
}

func runAudit(s *session, c redcon.Conn, args []string) {
	limit := 20
	if len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 {
			usageError(c, fmt.Errorf("the count is %q, and not a whole number above 0", clip(args[0])))
			return
		}
		limit = n
	}
	ctx, cancel := context.WithTimeout(context.Background(), opTime)
	defer cancel()
	changes, err := s.srv.opts.Desk.Registry.Audit(ctx, limit)
	if err != nil {
		writeError(c, err)
		return
	}
	rows := [][]string{{"revision", "at", "who", "action", "name", "from", "to", "why", "note"}}
	for _, ch := range changes {
		rows = append(rows, []string{
			strconv.FormatUint(ch.Revision, 10), ch.At.UTC().Format(time.RFC3339), ch.Who, ch.Action, ch.Name, ch.From, ch.To, ch.Why, ch.Note,
		})
	}
	lines(c, rows)
}

// waitTime is how long WAIT waits unless it is told.
const waitTime = 5 * time.Second

func runWait(s *session, c redcon.Conn, args []string) {
	reg := s.srv.opts.Desk.Registry
	revision, timeout := reg.Snapshot().Revision, waitTime
	if len(args) > 0 {
		n, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			usageError(c, fmt.Errorf("the revision is %q, and not a whole number", clip(args[0])))
			return
		}
		revision = n
	}
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 0 || n > int(10*time.Minute/time.Millisecond) {
			usageError(c, fmt.Errorf("the time is %q; write milliseconds, at most 600000", clip(args[1])))
			return
		}
		timeout = time.Duration(n) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	fleet, err := reg.WaitRevision(ctx, revision)
	if err != nil {
		writeError(c, err)
		return
	}
	serving, away := 0, 0
	for _, in := range fleet {
		if in.Away {
			away++
		} else {
			serving++
		}
	}
	text := fmt.Sprintf("revision %d is served by %d proxies", revision, serving)
	if away > 0 {
		text += fmt.Sprintf("; %d are away, and follow when they are back", away)
	}
	c.WriteString(text)
}
