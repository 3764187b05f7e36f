package cli

import (
	"context"
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/client"
)

func nodesCommand(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "nodes",
		Usage: "list the servers behind a proxy, with their roles and what becomes of them",
		Description: "SERVES is what the proxy sends there: writes to the primary of a set, reads to a\n" +
			"replica that is ready and not too far behind, else nothing.",
		Flags: adminFlags(),
		Action: look(func(ctx context.Context, c *client.Client, cmd *urfave.Command) error {
			list, err := c.Nodes(ctx)
			if err != nil {
				return err
			}
			if cmd.Bool("json") {
				return printJSON(streams.Out, list)
			}
			t := &table{header: []string{"upstream", "node", "role", "serves", "state", "lag", "offset"}}
			for _, n := range list.Nodes {
				t.add(n.Upstream, n.Node, n.Role, servesText(n), stateText(n), lagText(n), fmt.Sprint(n.Offset))
			}
			return t.print(streams.Out)
		}),
	}
}

func servesText(n api.Node) string {
	switch {
	case n.Serving && n.Role == "replica":
		return "reads"
	case n.Serving:
		return "writes"
	}
	return "-"
}

func stateText(n api.Node) string {
	switch {
	case !n.Up:
		return "down: " + n.Error
	case n.Busy > 0:
		return fmt.Sprintf("busy for %s", time.Duration(n.Busy*float64(time.Second)).Round(100*time.Millisecond))
	case !n.Ready:
		return "getting scripts"
	}
	return "up"
}

func lagText(n api.Node) string {
	if n.Role != "replica" {
		return "-"
	}
	return fmt.Sprintf("%s, %d bytes", time.Duration(n.Lag*float64(time.Second)).Round(time.Millisecond), n.LagBytes)
}
