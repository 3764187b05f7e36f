package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/client"
)

// Exit statuses of the script commands, beside the general ones.
const (
	statusConflict = 3 // somebody else changed the script first
	statusBehind   = 4 // the change is made, but not every proxy serves it in time
)

func scriptCommand(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "script",
		Usage: "look at the registered scripts and change which version runs",
		Description: "Speaks to the admin listener of a running proxy; with a shared registry,\n" +
			"what is changed there is changed on every proxy of the fleet.\n" +
			"Exit statuses: 0 done; 1 failed, nothing was changed unless said otherwise;\n" +
			"2 called wrongly; 3 somebody else changed the script first; 4 changed, but\n" +
			"not served by every proxy in time.",
		ArgValidator: noArguments,
		Commands: []*urfave.Command{
			scriptLs(streams),
			scriptShow(streams),
			scriptLoad(streams),
			scriptActivate(streams),
			scriptRollback(streams),
			scriptCanary(streams),
			scriptPromote(streams),
			scriptAbort(streams),
			scriptRetire(streams),
			scriptPin(streams),
			scriptRemove(streams),
			scriptDiff(streams),
			scriptAudit(streams),
			scriptWait(streams),
			scriptResetBreaker(streams),
			scriptCache(streams),
			scriptCompact(streams),
			scriptLint(streams),
		},
	}
}

// adminVariable is the environment variable with the address of the admin listener.
const adminVariable = "SCRIPTPROXY_ADMIN"

// adminFlags are the flags of every command that speaks to a proxy.
func adminFlags(more ...urfave.Flag) []urfave.Flag {
	return append([]urfave.Flag{
		&urfave.StringFlag{
			Name: "admin", Value: "http://127.0.0.1:9380", Sources: urfave.EnvVars(adminVariable),
			Usage: "speak to the admin listener at `ADDRESS`: a URL, host:port or unix:/path",
		},
		&urfave.StringFlag{Name: "token-file", TakesFile: true, Usage: "read the token from `FILE`; else SCRIPTPROXY_TOKEN is the token"},
		&urfave.StringFlag{Name: "ca-file", TakesFile: true, Sources: urfave.EnvVars("SCRIPTPROXY_CA_FILE"), Usage: "for https, trust the authorities in `FILE` instead of the system's"},
		&urfave.StringFlag{Name: "cert-file", TakesFile: true, Usage: "for https, show the certificate in `FILE`"},
		&urfave.StringFlag{Name: "key-file", TakesFile: true, Usage: "the certificate's private key is in `FILE`"},
		jsonFlag(),
	}, more...)
}

// changeFlags are the flags of the commands that change a script.
func changeFlags(more ...urfave.Flag) []urfave.Flag {
	return adminFlags(append([]urfave.Flag{
		&urfave.StringFlag{Name: "why", Usage: "write `TEXT` to the audit log"},
		&urfave.BoolFlag{Name: "yes", Usage: "do not ask"},
		&urfave.DurationFlag{Name: "wait", Value: 10 * time.Second, Usage: "wait up to `TIME` until every proxy of the fleet serves the change; 0 does not wait"},
		&urfave.Uint64Flag{Name: "if-revision", Usage: "change nothing when the script has changed after revision `N`"},
	}, more...)...)
}

// connect makes a client of what the flags name.
func connect(cmd *urfave.Command) (*client.Client, error) {
	token := os.Getenv("SCRIPTPROXY_TOKEN")
	if file := cmd.String("token-file"); file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("cannot read the token: %w", err)
		}
		token = strings.TrimSpace(string(data))
		if token == "" {
			return nil, fmt.Errorf("%s holds no token", file)
		}
	}
	address := cmd.String("admin")
	if env := os.Getenv(adminVariable); env != "" && !cmd.IsSet("admin") {
		address = env // the flag has not looked at it yet when a shell completes
	}
	secure, err := trust(cmd)
	if err != nil {
		return nil, err
	}
	c, err := client.New(address, token, secure)
	if err != nil {
		return nil, usageError(cmd, err.Error())
	}
	return c, nil
}

// trust reads the files for https; nil when none is named.
func trust(cmd *urfave.Command) (*tls.Config, error) {
	ca, cert, key := cmd.String("ca-file"), cmd.String("cert-file"), cmd.String("key-file")
	if ca == "" && cert == "" && key == "" {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("cannot read the authorities: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", ca)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("cannot read the certificate to show: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// lookTime bounds a request that only looks.
const lookTime = 30 * time.Second

// told turns what the API answered into what the command line says.
func told(err error) error {
	if err == nil {
		return nil
	}
	if far, ok := errors.AsType[*client.UnreachableError](err); ok {
		return hinted(far, "is the proxy running, and its admin.listen there? name another with -admin or SCRIPTPROXY_ADMIN")
	}
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		return err
	}
	switch e.Code {
	case api.CodeConflict:
		return &failure{err: e, hint: "look at it with \"scriptproxy script show\", then decide anew", status: statusConflict}
	case api.CodeTimeout:
		return &failure{err: e, status: statusBehind}
	case api.CodeUnauthorized, api.CodeForbidden:
		return hinted(e, "give the token in SCRIPTPROXY_TOKEN or with -token-file")
	case api.CodeContract, api.CodeForeign:
		return hinted(e, "-force goes on all the same")
	}
	return e
}

// arguments is the validator of a command that takes so many arguments.
func arguments(least, most int, names string) func(context.Context, *urfave.Command) error {
	return func(_ context.Context, cmd *urfave.Command) error {
		n := cmd.Args().Len()
		switch {
		case n < least:
			return usageError(cmd, "arguments are missing: "+names)
		case n > most:
			return usageError(cmd, fmt.Sprintf("unexpected argument %q", cmd.Args().Get(most)))
		}
		return nil
	}
}

// who is this user, for the audit log.
func who() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	switch {
	case name == "" && err != nil:
		return ""
	case name == "":
		return host
	case err != nil:
		return name
	}
	return name + "@" + host
}

// completeNames completes a script's name, and its versions behind it, by asking
// the proxy. A proxy that does not answer completes nothing.
func completeNames(versions int) urfave.ShellCompleteFunc {
	return func(ctx context.Context, cmd *urfave.Command) {
		if args := os.Args; len(args) > 1 && strings.HasPrefix(args[len(args)-2], "-") {
			urfave.DefaultCompleteWithFlags(ctx, cmd)
			return
		}
		c, err := connect(cmd)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		switch n := cmd.Args().Len(); {
		case n == 0:
			list, err := c.Scripts(ctx, nil)
			if err != nil {
				return
			}
			for _, s := range list.Scripts {
				fmt.Fprintln(cmd.Root().Writer, s.Name)
			}
		case n <= versions:
			script, err := c.Script(ctx, cmd.Args().First())
			if err != nil {
				return
			}
			for _, v := range script.Versions {
				fmt.Fprintln(cmd.Root().Writer, v.ID)
			}
		}
	}
}
