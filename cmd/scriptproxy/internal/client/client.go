// Package client speaks the HTTP API of a proxy.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
)

// Client is one proxy's API. Its methods may be called by any goroutine. Errors are
// *api.Error when the proxy answered one, and *UnreachableError when nobody did.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// UnreachableError says that no proxy answered.
type UnreachableError struct {
	Address string
	Err     error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no proxy answers at %s: %v", e.Address, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// New returns a client for "http://host:port", "https://host:port", "host:port" or
// "unix:/path". An empty token sends none. secure is for https; nil trusts the
// authorities of the system.
func New(address, token string, secure *tls.Config) (*Client, error) {
	transport := &http.Transport{TLSClientConfig: secure}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
		return &Client{base: "http://localhost", token: token, http: &http.Client{Transport: transport}}, nil
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no address of an admin listener; write one such as http://127.0.0.1:9380", address)
	}
	if u.User != nil {
		return nil, errors.New("the address has a user in it; give a token with -token-file or SCRIPTPROXY_TOKEN")
	}
	return &Client{base: u.Scheme + "://" + u.Host + strings.TrimSuffix(u.EscapedPath(), "/"), token: token, http: &http.Client{Transport: transport}}, nil
}

// Scripts lists the scripts with all of tags.
func (c *Client) Scripts(ctx context.Context, tags []string) (*api.Scripts, error) {
	return get[api.Scripts](ctx, c, "/api/v1/scripts", url.Values{"tag": tags})
}

// Script returns one script.
func (c *Client) Script(ctx context.Context, name string) (*api.Script, error) {
	return get[api.Script](ctx, c, scriptPath(name), nil)
}

// Version returns one version with its body.
func (c *Client) Version(ctx context.Context, name, version string) (*api.Version, error) {
	return get[api.Version](ctx, c, scriptPath(name)+"/versions/"+url.PathEscape(version), nil)
}

// Diff compares two versions; empty ones are the active and the newest.
func (c *Client) Diff(ctx context.Context, name, from, to string) (*api.Diff, error) {
	return get[api.Diff](ctx, c, scriptPath(name)+"/diff", url.Values{"from": {from}, "to": {to}})
}

// Audit returns the latest changes, of one script unless name is empty.
func (c *Client) Audit(ctx context.Context, name string, limit int) (*api.Audit, error) {
	return get[api.Audit](ctx, c, "/api/v1/audit", url.Values{"name": {name}, "limit": {strconv.Itoa(limit)}})
}

// Wait returns when every proxy of the fleet serves a revision; 0 is the one that
// the proxy serves now.
func (c *Client) Wait(ctx context.Context, revision uint64, timeout time.Duration) (*api.Fleet, error) {
	q := url.Values{"timeout": {timeout.String()}}
	if revision > 0 {
		q.Set("revision", strconv.FormatUint(revision, 10))
	}
	return get[api.Fleet](ctx, c, "/api/v1/wait", q)
}

// Nodes lists the servers behind the proxy.
func (c *Client) Nodes(ctx context.Context) (*api.Nodes, error) {
	return get[api.Nodes](ctx, c, "/api/v1/nodes", nil)
}

// Cache tells what the nodes hold in their script caches.
func (c *Client) Cache(ctx context.Context) (*api.Cache, error) {
	return get[api.Cache](ctx, c, "/api/v1/cache", nil)
}

// ResetBreaker closes breakers of the proxy, and returns what its breakers are
// then.
func (c *Client) ResetBreaker(ctx context.Context, reset api.BreakerReset) (*api.Breakers, error) {
	return send[api.Breakers](ctx, c, http.MethodPost, "/api/v1/breakers/reset", 0, reset)
}

// Change runs an operation on a script: "versions" (load), "activate", "rollback"
// and so on. With a revision other than 0 it is refused when the script has changed
// since.
func (c *Client) Change(ctx context.Context, operation, name string, revision uint64, change api.Change) (*api.Result, error) {
	return send[api.Result](ctx, c, http.MethodPost, scriptPath(name)+"/"+operation, revision, change)
}

// Remove forgets a version, or the whole script when version is empty.
func (c *Client) Remove(ctx context.Context, name, version string, revision uint64, change api.Change) (*api.Result, error) {
	path := scriptPath(name)
	if version != "" {
		path += "/versions/" + url.PathEscape(version)
	}
	return send[api.Result](ctx, c, http.MethodDelete, path, revision, change)
}

// Compact compacts script caches and tells each step to progress.
func (c *Client) Compact(ctx context.Context, compact api.Compact, progress func(api.Progress)) error {
	resp, err := c.request(ctx, http.MethodPost, "/api/v1/cache/compact", nil, 0, compact)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	for {
		var p api.Progress
		switch err := lines.Decode(&p); {
		case errors.Is(err, io.EOF):
			return errors.New("the answer ended in the middle: the proxy may have been stopped; look at the caches again")
		case err != nil:
			return fmt.Errorf("read the answer: %w", err)
		case p.Step == api.StepEnd:
			return nil
		case p.Step == api.StepFail:
			return &api.Error{Status: resp.StatusCode, Code: p.Code, Message: p.Error}
		}
		progress(p)
	}
}

func scriptPath(name string) string { return "/api/v1/scripts/" + url.PathEscape(name) }

func get[T any](ctx context.Context, c *Client, path string, q url.Values) (*T, error) {
	resp, err := c.request(ctx, http.MethodGet, path, q, 0, nil)
	if err != nil {
		return nil, err
	}
	return decode[T](resp)
}

func send[T any](ctx context.Context, c *Client, method, path string, revision uint64, body any) (*T, error) {
	resp, err := c.request(ctx, method, path, nil, revision, body)
	if err != nil {
		return nil, err
	}
	return decode[T](resp)
}

func decode[T any](resp *http.Response) (*T, error) {
	defer resp.Body.Close()
	out := new(T)
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return nil, fmt.Errorf("read the answer to %s: %w", resp.Request.URL.Path, err)
	}
	return out, nil
}

// request returns the answer when it is a success. The caller closes its body.
func (c *Client) request(ctx context.Context, method, path string, q url.Values, revision uint64, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(data)
	}
	target := c.base + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if revision != 0 {
		req.Header.Set("If-Match", `"`+strconv.FormatUint(revision, 10)+`"`)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, &UnreachableError{Address: c.base, Err: err}
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, &UnreachableError{Address: c.base, Err: err}
	}
	e := &api.Error{Status: resp.StatusCode}
	if json.Unmarshal(text, e) != nil || e.Message == "" {
		e.Message = fmt.Sprintf("%s answered %s, and not as scriptproxy's admin listener does", c.base, resp.Status)
	}
	return nil, e
}
